/* Any bytes as a configuration file: they load or are refused with ERR_CONFIG, and what loads can be printed. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "penstock/config.h"

static void print_all(const struct config *cfg) {
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out) abort();
    config_print(cfg, out);
    config_print_json(cfg, out);
    fclose(out);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int fd = memfd_create("config", MFD_CLOEXEC);
    if (fd < 0) abort();
    for (size_t done = 0; done < size;) {
        ssize_t n = write(fd, data + done, size - done);
        if (n <= 0) abort();
        done += (size_t)n;
    }
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct config *cfg = NULL;
    struct err err = {0};
    if (config_load(path, NULL, 0, &cfg, &err) == 0)
        print_all(cfg);
    else if (err.code != ERR_CONFIG || !err.msg[0])
        abort();
    config_free(cfg);
    close(fd);
    return 0;
}
