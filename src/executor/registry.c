/* Finding executors and models.
 *
 * Executors: two are linked in; any other name is a shared object libpenstock_<name>.so. The CUDA executor is one of
 * those, so that the binary starts on a machine without CUDA; it is opened by the worker that wants it and by nobody
 * else. It is never closed again: a driver's threads outlive dlclose.
 *
 * Models: the repository is Triton's layout, read once and as a whole. A broken entry refuses the whole repository,
 * because a worker that silently serves all models but one looks healthy while that one's jobs wait until their queue
 * timeout. Hidden folders, plain files at the top and folders that are no version number (samples/, docs/) are not ours
 * and are passed over.
 *
 * Versions compare as numbers ("10" after "9"); the highest is the latest. A model whose backend needs no file ("fake")
 * may have no version folder at all and then has the version "1".
 */
#include "penstock/registry.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "executor_internal.h"
#include "penstock/fnv.h"
#include "penstock/job.h"
#include "penstock/mem.h"
#include "penstock/wire_config.h"

#define CONFIG_MAX_BYTES ((size_t)64 * 1024)

/* --- executors --------------------------------------------------------------------------------------------------- */

static const struct executor_ops *linked_in(const char *name) {
    static const struct executor_ops *const table[] = {&executor__fake, &executor__onnx_cpu};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (strcmp(table[i]->name, name) == 0) return table[i];
    return NULL;
}

/* The name becomes part of a file name: nothing that could leave the folder. */
static bool is_plugin_name(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len > 32) return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == len;
}

static bool is_in(const char *folder, const char *file, char *ret_path, size_t size) {
    return (size_t)snprintf(ret_path, size, "%s/%s", folder, file) < size && access(ret_path, F_OK) == 0;
}

static bool is_beside_binary(const char *file, char *ret_path, size_t size) {
    char folder[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", folder, sizeof folder - 1);
    if (len <= 0) return false;
    folder[len] = '\0';
    *strrchr(folder, '/') = '\0'; /* the kernel's path is absolute */
    return is_in(folder, file, ret_path, size);
}

/* The first place that has the file decides, so that dlerror tells what is wrong with that one. */
static void *open_plugin(const char *name, const char *plugin_dir, struct err *err) {
    char file[64], path[PATH_MAX];
    snprintf(file, sizeof file, "libpenstock_%s.so", name);
    for (char *c = file; *c; c++)
        if (*c == '-') *c = '_'; /* as build systems name libraries: onnx-cuda is libpenstock_onnx_cuda.so */
    if (plugin_dir && plugin_dir[0])
        snprintf(path, sizeof path, "%s/%s", plugin_dir, file);
    else if (!is_beside_binary(file, path, sizeof path) && !is_in(PENSTOCK_PLUGIN_DIR, file, path, sizeof path))
        snprintf(path, sizeof path, "%s", file); /* for the library path */
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        err_set(err, ERR_CONFIG, "executor '%s' is neither linked in (fake, onnx-cpu) nor a plug-in: %s", name,
                dlerror());
    }
    return handle;
}

int registry_executor_find(const char *name, const char *plugin_dir, const struct executor_ops **ret_ops,
                           struct err *err) {
    const struct executor_ops *ops = linked_in(name);
    if (!ops) {
        if (!is_plugin_name(name))
            return err_set(err, ERR_CONFIG, "executor '%s': a name is 1 to 32 of a-z 0-9 - _", name);
        void *handle = open_plugin(name, plugin_dir, err);
        if (!handle) return -1;
        penstock_executor_fn *entry = (penstock_executor_fn *)dlsym(handle, "penstock_executor");
        if (!entry) return err_set(err, ERR_CONFIG, "executor '%s': the plug-in exports no penstock_executor", name);
        ops = entry();
    }
    if (ops->abi_version != EXECUTOR_ABI_VERSION)
        return err_set(err, ERR_CONFIG, "executor '%s': built for ABI %u, this penstock has ABI %d", name,
                       ops->abi_version, EXECUTOR_ABI_VERSION);
    *ret_ops = ops;
    return 0;
}

/* --- one model folder -------------------------------------------------------------------------------------------- */

static char *path_join(const char *a, const char *b) {
    size_t size = strlen(a) + strlen(b) + 2;
    char *path = mem_alloc(size);
    snprintf(path, size, "%s/%s", a, b);
    return path;
}

static bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A positive decimal number of at most 18 digits, so that it fits int64_t, without a leading zero, so that one number
 * has one name. Returns 0 for anything else. */
static int64_t version_number(const char *name) {
    size_t len = strlen(name);
    if (len == 0 || len > 18 || name[0] == '0' || strspn(name, "0123456789") != len) return 0;
    return strtoll(name, NULL, 10);
}

/* *ret_len -1: there is no such file. */
static int read_small_file(const char *path, char **ret, ssize_t *ret_len, struct err *err) {
    FILE *file = fopen(path, "re");
    if (!file && errno == ENOENT) {
        *ret_len = -1;
        return 0;
    }
    if (!file) return err_set_errno(err, ERR_CONFIG, "%s", path);
    char *bytes = mem_alloc(CONFIG_MAX_BYTES + 1);
    size_t len = fread(bytes, 1, CONFIG_MAX_BYTES + 1, file);
    int failed = ferror(file);
    fclose(file);
    if (failed || len > CONFIG_MAX_BYTES) {
        free(bytes);
        return err_set(err, ERR_CONFIG, "%s: %s", path, failed ? "cannot be read" : "over 64 KiB");
    }
    *ret = bytes;
    *ret_len = (ssize_t)len;
    return 0;
}

static int read_config(const char *folder, const char *name, struct wire_model_config *ret, struct err *err) {
    *ret = (struct wire_model_config){.backend = "onnx"};
    char *path = path_join(folder, "config.json"), *bytes = NULL;
    ssize_t len = -1;
    int rc = read_small_file(path, &bytes, &len, err);
    if (rc == 0 && len >= 0 && (rc = wire_model_config_decode(bytes, (size_t)len, ret, err)) != 0)
        err_wrap(err, "%s", path);
    if (rc == 0 && ret->name[0] && strcmp(ret->name, name) != 0)
        rc = err_set(err, ERR_CONFIG, "%s: name is '%s', but the folder is '%s'", path, ret->name, name);
    free(bytes);
    free(path);
    return rc;
}

static struct model_entry *list_append(struct model_list *list, const char *name, const char *version,
                                       const struct wire_model_config *cfg) {
    list->entries = mem_realloc(list->entries, (list->count + 1) * sizeof *list->entries);
    struct model_entry *entry = &list->entries[list->count++];
    *entry = (struct model_entry){
        .max_batch_size = cfg->max_batch_size, .max_queue_delay_us = cfg->max_queue_delay_us, .policy = cfg->policy};
    snprintf(entry->name, sizeof entry->name, "%s", name);
    snprintf(entry->version, sizeof entry->version, "%s", version);
    snprintf(entry->backend, sizeof entry->backend, "%s", cfg->backend);
    return entry;
}

static uint64_t stamp_of(const struct stat *st) {
    const uint64_t parts[] = {(uint64_t)st->st_dev, (uint64_t)st->st_ino, (uint64_t)st->st_size,
                              (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec};
    return fnv1a(FNV1A, parts, sizeof parts) | 1;
}

/* A version folder of an ONNX model must hold its file now: a load that fails later would find jobs waiting for it. */
static int check_version(const char *path, const struct wire_model_config *cfg, uint64_t *ret_stamp, struct err *err) {
    struct stat st;
    *ret_stamp = 0;
    if (strcmp(cfg->backend, "onnx") != 0) return 0;
    char *file = path_join(path, "model.onnx");
    int rc = access(file, R_OK) == 0 && stat(file, &st) == 0 ? 0 : err_set_errno(err, ERR_CONFIG, "%s", file);
    if (rc == 0) *ret_stamp = stamp_of(&st);
    free(file);
    return rc;
}

static int scan_versions(const char *folder, const char *name, const struct wire_model_config *cfg,
                         struct model_list *list, struct err *err) {
    DIR *dir = opendir(folder);
    if (!dir) return err_set_errno(err, ERR_CONFIG, "%s", folder);
    size_t before = list->count;
    int rc = 0;
    for (struct dirent *item; rc == 0 && (item = readdir(dir));) {
        if (version_number(item->d_name) == 0) continue;
        char *path = path_join(folder, item->d_name);
        uint64_t stamp;
        if (is_folder(path) && (rc = check_version(path, cfg, &stamp, err)) == 0) {
            struct model_entry *entry = list_append(list, name, item->d_name, cfg);
            entry->path = path;
            entry->stamp = stamp;
            continue;
        }
        free(path);
    }
    closedir(dir);
    if (rc != 0 || list->count > before) return rc;
    if (strcmp(cfg->backend, "onnx") == 0)
        return err_set(err, ERR_CONFIG, "model '%s': %s has no version folder (1, 2, ...)", name, folder);
    list_append(list, name, "1", cfg)->path = mem_strdup(folder);
    return 0;
}

static int scan_model(const char *repository, const char *name, struct model_list *list, struct err *err) {
    char *folder = path_join(repository, name);
    struct wire_model_config cfg;
    int rc = 0;
    if (!is_folder(folder)) goto out;
    rc = -1;
    if (!job_model_is_valid(name, strlen(name))) {
        err_set(err, ERR_CONFIG, "%s: a model's name is 1 to 64 of A-Z a-z 0-9 . _ -", folder);
        goto out;
    }
    if (read_config(folder, name, &cfg, err) != 0) goto out;
    rc = scan_versions(folder, name, &cfg, list, err);
out:
    free(folder);
    return rc;
}

/* --- the repository ---------------------------------------------------------------------------------------------- */

static int entry_compare(const void *a, const void *b) {
    const struct model_entry *left = a, *right = b;
    int order = strcmp(left->name, right->name);
    if (order != 0) return order;
    int64_t l = version_number(left->version), r = version_number(right->version);
    return (l > r) - (l < r);
}

static void mark_latest(struct model_list *list) {
    for (size_t i = 0; i < list->count; i++)
        list->entries[i].latest = i + 1 == list->count || strcmp(list->entries[i].name, list->entries[i + 1].name) != 0;
}

int registry_models_scan(const char *repository, struct model_list *ret_list, struct err *err) {
    struct model_list list = {0};
    DIR *dir = opendir(repository);
    if (!dir) return err_set_errno(err, ERR_CONFIG, "model repository %s", repository);
    int rc = 0;
    for (struct dirent *item; rc == 0 && (item = readdir(dir));)
        if (item->d_name[0] != '.') rc = scan_model(repository, item->d_name, &list, err);
    closedir(dir);
    if (rc != 0) {
        registry_models_done(&list);
        return -1;
    }
    if (list.count) qsort(list.entries, list.count, sizeof *list.entries, entry_compare);
    mark_latest(&list);
    *ret_list = list;
    return 0;
}

void registry_models_done(struct model_list *list) {
    for (size_t i = 0; i < list->count; i++) free(list->entries[i].path);
    free(list->entries);
    *list = (struct model_list){0};
}

static bool policy_equal(const struct model_policy *a, const struct model_policy *b) {
    return a->max_attempts == b->max_attempts && a->backoff_ms == b->backoff_ms &&
           a->backoff_max_ms == b->backoff_max_ms && a->timeout_ms == b->timeout_ms &&
           a->timeout_max_ms == b->timeout_max_ms && a->queue_timeout_ms == b->queue_timeout_ms &&
           a->queue_timeout_max_ms == b->queue_timeout_max_ms && a->max_running == b->max_running &&
           a->max_queued == b->max_queued;
}

bool registry_entry_equal(const struct model_entry *a, const struct model_entry *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->version, b->version) == 0 && strcmp(a->path, b->path) == 0 &&
           strcmp(a->backend, b->backend) == 0 && a->stamp == b->stamp && a->max_batch_size == b->max_batch_size &&
           a->max_queue_delay_us == b->max_queue_delay_us && policy_equal(&a->policy, &b->policy);
}

bool registry_models_equal(const struct model_list *a, const struct model_list *b) {
    bool equal = a->count == b->count; /* and so are their orders */
    for (size_t i = 0; equal && i < a->count; i++) equal = registry_entry_equal(&a->entries[i], &b->entries[i]);
    return equal;
}

const struct model_entry *registry_model_find(const struct model_list *list, const char *name, const char *version) {
    for (size_t i = 0; i < list->count; i++) {
        const struct model_entry *entry = &list->entries[i];
        if (strcmp(entry->name, name) != 0) continue;
        if (!version || !version[0] ? entry->latest : strcmp(entry->version, version) == 0) return entry;
    }
    return NULL;
}
