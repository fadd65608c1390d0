"""What planform does, on real networks: `make demo`.

Checks ResNet-50 from its plan, shows an error, costs the network, runs it on a photograph; then trains a
small network on scikit-learn's handwritten digits and saves its weights. A minute or two on two cores.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor, nn

GOAL = 0.97
EPOCHS = 10
OUT = Path("out")

_MISTAKE = """\
planform 1

block bottleneck(x: [B, C, H, W], width: int) {
    y = x -> conv1: conv(width, 1)        -> bn1: batch_norm() -> relu()
          -> conv2: conv(width, 3, pad=1) -> bn2: batch_norm() -> relu()
          -> conv3: conv(2 * width, 1)    -> bn3: batch_norm()
    return relu(y + x)
}

model net(image: [B, 256, H, W]) {
    return image -> block1: bottleneck(64)
}

plan wrong = net()
"""


def main() -> int:
    """Run the demo; 0 if the trained network is as good as it should be."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=100)
    try:
        import sklearn as sklearn
    except ImportError:
        console.print("The demo needs scikit-learn for its data: pip install scikit-learn")
        return 2
    start = time.perf_counter()
    check(console)
    mistake(console)
    costs(console)
    photograph(console)
    accuracy = digits(console)
    console.print(f"\n[dim]All of it took {time.perf_counter() - start:.0f} s.[/dim]")
    return 0 if accuracy >= GOAL else 1


def headline(console: Console, number: int, text: str) -> None:
    """The title of a step."""
    console.print()
    console.rule(f"[bold]{number}. {text}", align="left")


def check(console: Console) -> None:
    """Check the plan of ResNet and derive its claims."""
    from planform.api.model import load
    from planform.cli.check import figure

    headline(console, 1, "A network is a text, and the text is checked")
    model = load("resnet50")
    console.print(
        f"ResNet-50 is [bold]{model.file.source.name}[/bold], which quotes what was published of it."
    )
    console.print("Checking derives every figure again:\n")
    report = model.check()
    for claim in report.claims:
        mark = "[green]✓[/green]" if claim.ok else "[red]✗[/red]"
        console.print(f"  {mark} {escape(claim.text)}")
        console.print(f"      derived: [cyan]{escape(figure(claim.got))}[/cyan]")
    console.print("\n[dim]The same from a shell: planform check resnet50[/dim]")


def mistake(console: Console) -> None:
    """Show the diagnostic of a wrong plan."""
    from planform.api.plan_file import PlanFile
    from planform.dsl.render import render_all

    headline(console, 2, "A mistake is found where it was made")
    console.print("Where 4 * width channels should come out of a bottleneck, somebody wrote 2 * width:\n")
    found = PlanFile.from_text(_MISTAKE, "wrong.plan").check()
    console.print(render_all(found.diagnostics), markup=False, style="yellow")
    console.print(f"\n[dim]The code is explained by: planform explain {found.diagnostics[0].code}[/dim]")


def costs(console: Console) -> None:
    """Print the cost report of ResNet-50."""
    from planform.api.model import load
    from planform.reports.cost import print_cost

    headline(console, 3, "What it costs, exactly")
    print_cost(load("resnet50").cost(B=1, H=224, W=224), depth=1, console=console)
    console.print("[dim]The same from a shell: planform cost resnet50 --at B=1,H=224,W=224[/dim]")


def photograph(console: Console) -> None:
    """Run ResNet-50 on a photograph."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    from planform.api.images import ImageInput
    from planform.api.model import load
    from planform.backends.torch.run import run

    headline(console, 4, "The same text is a torch module")
    OUT.mkdir(exist_ok=True)
    path = OUT / "china.png"
    Image.fromarray(load_sample_image("china.jpg")).save(path)
    model = load("resnet50")
    spec = ImageInput.of(model.file.scope.about)
    if spec is None:
        raise ValueError("resnet.plan does not say what its input is")
    image = spec.read(path, spec.size, 3)
    module = model.to_torch(seed=0)
    outcome = run(module, {"image": image}, budget=1.0)
    (result,) = outcome.outputs.values()
    macs = model.cost(B=1, H=spec.size[0], W=spec.size[1]).macs()
    rate = macs / outcome.seconds / 1e9 if isinstance(macs, int) else 0.0
    names = [name for name, _ in module.named_children() if not name.startswith("_")]
    for line in (
        f"{path}, cut to {image.shape[3]} x {image.shape[2]} pixels, gives {list(result.shape)}",
        f"in {outcome.seconds * 1000:.0f} ms: {rate:.1f} G multiply-adds a second",
        f"the module's children bear the plan's labels: {', '.join(names)}",
    ):
        console.print(f"  [green]✓[/green] {escape(line)}")
    console.print("\n[dim]The weights are random here. With a checkpoint, this names what it sees:")
    console.print("[dim]planform run resnet50 --weights resnet50.safetensors --input photo.jpg")


def digits(console: Console) -> float:
    """Train the small network, save it and load it again; the accuracy on held-out images."""
    import torch
    from safetensors.torch import load_file, save_file

    from planform.api.model import load

    headline(console, 5, "It trains")
    torch.manual_seed(0)
    model = load("digits")
    data = held_out_split()
    module = model.to_torch(seed=0)
    console.print(f"{model.file.source.name}: {model.cost().params:,} parameters;", end=" ")
    console.print(f"{len(data[0])} images of handwritten digits to learn from, {len(data[2])} held out.\n")
    accuracy = train(module, *data, console)
    verdict = "[green]✓[/green]" if accuracy >= GOAL else "[red]✗[/red]"
    console.print(f"\n  {verdict} {accuracy:.1%} of the held-out digits are right; the goal is {GOAL:.0%}")
    path = OUT / "digits.safetensors"
    save_file(module.state_dict(), path)
    again = model.to_torch()
    again.load_state_dict(load_file(path))
    same = torch.equal(scores(module, data[2]), scores(again, data[2]))
    if not same:
        raise ValueError(f"the network loaded from {path} computes something else")
    kilobytes = path.stat().st_size / 1000
    console.print(
        f"  [green]✓[/green] saved as {path}, {kilobytes:.0f} kB; loaded again, it computes the same"
    )
    image = write_digit(data[2][0])
    console.print(f"\nTry it: planform run digits --weights {path} --input {image}")
    return accuracy


def held_out_split() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """scikit-learn's digits: images and classes to train on, and those of a held-out fifth."""
    import torch
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found: Any = load_digits()
    images = torch.tensor(found.images, dtype=torch.float32).unsqueeze(1) / 16
    classes = torch.tensor(found.target)
    kept, held = train_test_split(range(len(classes)), test_size=0.2, random_state=0, stratify=found.target)
    normal = (images - 0.305) / 0.376  # as the plan's `about` says
    return normal[kept], classes[kept], normal[held], classes[held]


def train(
    module: nn.Module, images: Tensor, classes: Tensor, held: Tensor, wanted: Tensor, console: Console
) -> float:
    """Train by AdamW with one cycle of the learning rate; the accuracy on the held-out images."""
    import torch
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    torch.set_num_threads(1)  # so small a network that threads would mostly wait for each other
    size = 64
    steps = -(-len(images) // size)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=EPOCHS * steps)
    columns = (
        TextColumn("  epoch {task.fields[epoch]:>2}"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}  held-out {task.fields[accuracy]:.1%}"),
        TimeRemainingColumn(),
    )
    accuracy = 0.0
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("", total=EPOCHS * steps, epoch=0, loss=0.0, accuracy=0.0)
        for epoch in range(1, EPOCHS + 1):
            module.train()
            total = 0.0
            for chosen in torch.randperm(len(images)).split(size):
                loss = torch.nn.functional.cross_entropy(module(images[chosen]), classes[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                total += loss.item()
                progress.advance(task)
            accuracy = (scores(module, held).argmax(1) == wanted).float().mean().item()
            progress.update(task, epoch=epoch, loss=total / steps, accuracy=accuracy)
    return accuracy


def scores(module: nn.Module, images: Tensor) -> Tensor:
    """The network's scores in eval mode."""
    import torch

    module.eval()
    with torch.inference_mode():
        return module(images)


def write_digit(image: Tensor) -> Path:
    """A normalised digit as an image file."""
    from PIL import Image

    pixels = ((image[0] * 0.376 + 0.305) * 255).clamp(0, 255).round().byte().numpy()
    path = OUT / "digit.png"
    Image.fromarray(pixels).save(path)
    return path


def escape(text: str) -> str:
    """Text that rich prints as it is."""
    from rich.markup import escape

    return escape(text)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
