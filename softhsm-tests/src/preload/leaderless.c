/* Loaded into a program by LD_PRELOAD, runs it in a second thread and ends the first, so
   that the process lives on with a zombie as its leader. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int (*program)(int, char **, char **);
static struct { int count; char **arguments, **environment; } given;

static void *second(void *unused) {
    (void)unused;
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", getpid());
    /* Not before the first has ended. */
    while (!strstr(line, ") Z ")) {
        FILE *stat = fopen(path, "r");
        if (!stat || !fgets(line, sizeof line, stat))
            abort();
        fclose(stat);
        usleep(1000);
    }
    exit(program(given.count, given.arguments, given.environment));
}

static int first(int count, char **arguments, char **environment) {
    pthread_t thread;
    given.count = count, given.arguments = arguments, given.environment = environment;
    if (pthread_create(&thread, NULL, second, NULL))
        abort();
    pthread_exit(NULL);
}

int __libc_start_main(int (*main)(int, char **, char **), int count, char **arguments,
                      int (*init)(int, char **, char **), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end) {
    int (*next)(int (*)(int, char **, char **), int, char **, int (*)(int, char **, char **),
                void (*)(void), void (*)(void), void *) = dlsym(RTLD_NEXT, "__libc_start_main");
    program = main;
    return next(first, count, arguments, init, fini, rtld_fini, stack_end);
}
