// What the C library allocates for its caller, and what it allocates for itself.
#define _GNU_SOURCE
#include <dirent.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

void *volatile seen;

void gives_strdup(void) { seen = strdup("handed over"); }
void gives_strndup(void) { seen = strndup("handed over", 6); }
void gives_wcsdup(void) { seen = wcsdup(L"handed over"); }
void gives_asprintf(void) {
    char *text = NULL;
    if (asprintf(&text, "%d and %s", 7, "a text") >= 0)
        seen = text;
}
static char *format(const char *format, ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0)
        text = NULL;
    va_end(arguments);
    return text;
}
void gives_vasprintf(void) { seen = format("%0200d %f", 7, 1.5); }
void gives_getline(void) {
    char *line = NULL;
    size_t length = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    if (file != NULL) {
        if (getline(&line, &length, file) < 0)
            line = NULL;
        fclose(file);
    }
    seen = line;
}
void gives_realpath(void) { seen = realpath("/", NULL); }
void gives_getcwd(void) { seen = getcwd(NULL, 0); }
void gives_fopen(void) { seen = fopen("/proc/self/maps", "r"); }
void gives_opendir(void) { seen = opendir("/"); }

void keeps_time_zone(void) {
    time_t now = 0;
    setenv("TZ", "Europe/Paris", 1);
    tzset();
    seen = localtime(&now);
}
void keeps_locale(void) { seen = setlocale(LC_ALL, "C.UTF-8"); }
void keeps_buffer(void) {
    printf("printed\n");
    fflush(stdout);
}
void keeps_environment(void) { setenv("A_NAME", "a value", 1); }
