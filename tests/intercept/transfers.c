// What gives memory to the kernel. Knows nothing of heapledger.
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

void *get(size_t size) { return calloc(1, size); }
void put(void *block) { free(block); }

long takes_read(int file, char *to, size_t count) { return read(file, to, count); }
long takes_pread(int file, char *to, size_t count) { return pread(file, to, count, 0); }
long takes_recv(int file, char *to, size_t count) { return recv(file, to, count, 0); }
long gives_write(int file, const char *from, size_t count) { return write(file, from, count); }
long gives_pwrite(int file, const char *from, size_t count) { return pwrite(file, from, count, 0); }
long gives_send(int file, const char *from, size_t count) { return send(file, from, count, 0); }

// Unbuffered, so that the kernel gets the memory itself.
long takes_fread(int file, char *to, size_t count)
{
    FILE *stream = fdopen(dup(file), "r");
    setvbuf(stream, NULL, _IONBF, 0);
    long taken = fread(to, 2, count / 2, stream) * 2;
    fclose(stream);
    return taken;
}

long gives_fwrite(int file, const char *from, size_t count)
{
    FILE *stream = fdopen(dup(file), "w");
    setvbuf(stream, NULL, _IONBF, 0);
    long given = fwrite(from, 2, count / 2, stream) * 2;
    fclose(stream);
    return given;
}
