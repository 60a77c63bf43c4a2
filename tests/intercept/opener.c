// Opens another library from C and calls it in the same breath.
#include <dlfcn.h>
#include <stddef.h>

void *by_plugin(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return NULL;
    void *(*allocate)(void) = (void *(*)(void))dlsym(library, "plugin_allocate");
    return allocate == NULL ? NULL : allocate();
}

// Leaves the library: what was written there must not be written to again.
int open_and_close(const char *path) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return library == NULL ? -1 : dlclose(library);
}
