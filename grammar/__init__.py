"""The grammar of the language, `planform.lark`, and its parser tables.

Building the tables takes lark some 0.4 s, loading them 0.02 s, so they are stored beside the grammar in
`tables.json`: data, not code. They are used if they were made from this very grammar by this version of lark;
otherwise the tables are built anew. `python -m planform.grammar` rewrites the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import lark
from lark.grammar import Rule
from lark.lexer import TerminalDef

START = ("file", "rest")
"""The start symbols: a whole file, and what follows a broken declaration."""


def text() -> str:
    """The grammar, readable in one sitting."""
    return files(__name__).joinpath("planform.lark").read_text(encoding="utf-8")


def build(**options: Any) -> lark.Lark:
    """The parser, built from the grammar; `options` are lark's."""
    return lark.Lark(
        text(), parser="lalr", lexer="contextual", start=list(START), keep_all_tokens=True, **options
    )


def fingerprint() -> str:
    """What stored tables depend on."""
    return hashlib.sha256(f"{lark.__version__}\n{START}\n{text()}".encode()).hexdigest()


def load(**options: Any) -> Callable[..., Any]:
    """The function `parse(text, start)`, from the stored tables where they fit; `options` are lark's."""
    stored = files(__name__).joinpath("tables.json")
    if stored.is_file():
        content = json.loads(stored.read_text(encoding="utf-8"))
        if content["fingerprint"] == fingerprint():
            return _restore(content, options).parse
    return build(**options).parse


def dump() -> str:
    """The content of `tables.json`, the same for the same grammar."""
    data, memo = build(postlex=_KeepLineBreaks()).memo_serialize([TerminalDef, Rule])
    del data["options"]["postlex"]
    data["parser"]["parser"] = _renumber(data["parser"]["parser"])
    content = {"fingerprint": fingerprint(), "data": data, "memo": memo}
    return json.dumps(content, separators=(",", ":"), default=sorted)


def _renumber(table: dict[str, Any]) -> dict[str, Any]:
    """The same automaton, its symbols numbered by name and its states in the order of a walk from the start;
    lark's own numbers vary from run to run.
    """
    names: dict[int, str] = table["tokens"]
    symbols = {name: number for number, name in enumerate(sorted(names.values()))}
    order: dict[int, int] = {}
    pending = [table["start_states"][symbol] for symbol in reversed(START)]
    states: dict[int, dict[int, list[int]]] = {}
    while pending:
        state = pending.pop()
        if state in order:
            continue
        order[state] = len(order)
        actions = {symbols[names[token]]: list(action) for token, action in table["states"][state].items()}
        states[state] = dict(sorted(actions.items()))
        pending += [target for kind, target in reversed(states[state].values()) if kind == 0]
    return {
        "tokens": {number: name for name, number in symbols.items()},
        "states": {
            order[state]: {
                token: [kind, order[target] if kind == 0 else target]
                for token, (kind, target) in states[state].items()
            }
            for state in order
        },
        "start_states": {symbol: order[table["start_states"][symbol]] for symbol in START},
        "end_states": {symbol: order[table["end_states"][symbol]] for symbol in START},
    }


def _restore(content: dict[str, Any], options: dict[str, Any]) -> lark.Lark:
    """Undo what JSON does to integer keys, and hand the tables to lark."""
    table = content["data"]["parser"]["parser"]
    table["tokens"] = {int(key): value for key, value in table["tokens"].items()}
    table["states"] = {
        int(state): {int(token): action for token, action in actions.items()}
        for state, actions in table["states"].items()
    }
    memo = {int(key): value for key, value in content["memo"].items()}
    return lark.Lark._load_from_dict(content["data"], memo, **options)  # pyright: ignore[reportPrivateUsage]


class _KeepLineBreaks:
    """Stands for the filter of line breaks while tables are made: the lexer must always know `_NL`."""

    always_accept = ("_NL",)

    def process(self, stream: Any) -> Any:
        """The tokens as they are."""
        return stream
