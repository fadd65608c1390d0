// What the runner uses of CUDA's driver, on the processor. A module is a shared library of emulated kernels.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <elf.h>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

typedef int CUresult;
struct Function { void (*run)(unsigned, unsigned, void **); };
struct Block { char *start; size_t whole, size; };
static const size_t PAGE = 4096;
static std::mutex lock;
static std::map<uint64_t, Block> blocks;

extern "C" {
CUresult cuInit(unsigned) { return 0; }
CUresult cuDeviceGetCount(int *count) { *count = std::getenv("EMULATED_NONE") ? 0 : 1; return 0; }
CUresult cuDeviceGet(int *device, int) { *device = 0; return 0; }
CUresult cuDeviceGetAttribute(int *value, int attribute, int) { *value = attribute == 75 ? 9 : 0; return 0; }
CUresult cuDevicePrimaryCtxRetain(void **context, int) { *context = std::malloc(1); return 0; }
CUresult cuCtxSetCurrent(void *) { return 0; }
CUresult cuGetErrorName(int, const char **text) { *text = "CUDA_ERROR_EMULATED"; return 0; }
CUresult cuModuleLoadData(void **module, const void *image) {
  // The end of an ELF file is its table of sections.
  auto header = static_cast<const Elf64_Ehdr *>(image);
  size_t size = header->e_shoff + size_t(header->e_shnum) * header->e_shentsize;
  char name[] = "/tmp/emulated-XXXXXX";
  int file = mkstemp(name);
  if (file < 0 || write(file, image, size) != ssize_t(size)) return 1;
  close(file);
  *module = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  unlink(name);
  return *module ? 0 : 200;
}
CUresult cuModuleGetFunction(void **function, void *module, const char *name) {
  char whole[512] = "emulated_";
  std::strncat(whole, name, sizeof(whole) - 16);
  *function = dlsym(module, whole);
  return *function ? 0 : 500;
}
// Memory ends at a page that cannot be read, and what nobody wrote is NaN.
CUresult cuMemAlloc_v2(uint64_t *address, size_t size) {
  size_t taken = (size + 255) / 256 * 256, whole = (taken + PAGE - 1) / PAGE * PAGE + 2 * PAGE;
  void *found = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (found == MAP_FAILED) return 2;
  char *start = static_cast<char *>(found);
  std::memset(start + PAGE, 0xFF, whole - 2 * PAGE);
  mprotect(start, PAGE, PROT_NONE);
  mprotect(start + whole - PAGE, PAGE, PROT_NONE);
  *address = reinterpret_cast<uint64_t>(start + whole - PAGE - taken);
  std::lock_guard<std::mutex> guard(lock);
  blocks[*address] = {start, whole, size};
  return 0;
}
CUresult cuMemFree_v2(uint64_t address) {
  std::lock_guard<std::mutex> guard(lock);
  Block block = blocks[address];
  munmap(block.start, block.whole);
  blocks.erase(address);
  return 0;
}
// Whether something was written beside the memory that is in use.
CUresult cuCtxSynchronize() {
  std::lock_guard<std::mutex> guard(lock);
  for (auto &[address, block] : blocks) {
    auto first = reinterpret_cast<const unsigned char *>(address), last = first + block.size;
    for (auto at = reinterpret_cast<const unsigned char *>(block.start + PAGE); at < first; ++at)
      if (*at != 0xFF) return 700;
    for (auto end = reinterpret_cast<const unsigned char *>(block.start + block.whole - PAGE); last < end; ++last)
      if (*last != 0xFF) return 700;
  }
  return 0;
}
CUresult cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size) {
  std::memcpy(reinterpret_cast<void *>(to), from, size);
  return 0;
}
CUresult cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size) {
  std::memcpy(to, reinterpret_cast<const void *>(from), size);
  return 0;
}
CUresult cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                        unsigned bz, unsigned shared, void *, void **parameters, void **) {
  if (!gx || gy != 1 || gz != 1 || !bx || bx > 1024 || by != 1 || bz != 1 || shared) return 1;
  reinterpret_cast<void (*)(unsigned, unsigned, void **)>(function)(gx, bx, parameters);
  return 0;
}
}
