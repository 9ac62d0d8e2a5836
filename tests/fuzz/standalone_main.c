/* Feeds files to a fuzz target without libFuzzer: each argument is a file, or a folder whose files are all fed. So
 * inputs that once broke a decoder are run in every ordinary build. An empty folder fails: a test that fed nothing
 * proved nothing. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

static int feed_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0) {
        perror(path);
        exit(2);
    }
    long size = ftell(file);
    rewind(file);
    uint8_t *data = malloc(size > 0 ? (size_t)size : 1); /* of exactly this size, so that ASan sees a read past it */
    if (!data || size < 0 || fread(data, 1, (size_t)size, file) != (size_t)size) {
        perror(path);
        exit(2);
    }
    fclose(file);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    return 1;
}

static int feed_path(const char *path) {
    DIR *dir = opendir(path);
    if (!dir) return feed_file(path);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char child[1024];
        if (entry->d_name[0] == '.') continue;
        snprintf(child, sizeof child, "%s/%s", path, entry->d_name);
        count += feed_file(child);
    }
    closedir(dir);
    return count;
}

int main(int argc, char **argv) {
    int count = 0;
    for (int i = 1; i < argc; i++) count += feed_path(argv[i]);
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
