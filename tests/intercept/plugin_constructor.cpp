// A library whose constructor calls the one that allocates.
extern "C" void allocate_for_plugin(void);
namespace {
struct Static {
    __attribute__((noinline)) Static() { allocate_for_plugin(); asm volatile(""); }
} instance;
} // namespace
