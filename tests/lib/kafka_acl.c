/* kafka_acl BOOTSTRAP add|remove KIND NAME USER OPERATION [KIND NAME USER OPERATION ...]: Kafka's ACLs, for tests.
 *
 * KIND: topic or group, with a literal NAME. By librdkafka's admin calls and not by Kafka's own tool, which starts a
 * JVM for each. Exit code 0 when the broker has taken all of them. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_MS 30000
#define WORDS     4 /* KIND NAME USER OPERATION */
#define ACLS_MAX  32

static const struct {
    const char *name;
    rd_kafka_AclOperation_t operation;
} operations[] = {{"read", RD_KAFKA_ACL_OPERATION_READ},
                  {"write", RD_KAFKA_ACL_OPERATION_WRITE},
                  {"create", RD_KAFKA_ACL_OPERATION_CREATE},
                  {"describe", RD_KAFKA_ACL_OPERATION_DESCRIBE}};

static void die(const char *what, const char *why) {
    fprintf(stderr, "kafka_acl: %s: %s\n", what, why);
    exit(1);
}

static rd_kafka_AclOperation_t operation_of(const char *name) {
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (strcmp(operations[i].name, name) == 0) return operations[i].operation;
    die(name, "no operation known here");
    return RD_KAFKA_ACL_OPERATION_UNKNOWN;
}

static rd_kafka_AclBinding_t *binding(char **words, int filter) {
    char why[256], principal[128];
    rd_kafka_ResourceType_t kind = strcmp(words[0], "topic") == 0   ? RD_KAFKA_RESOURCE_TOPIC
                                   : strcmp(words[0], "group") == 0 ? RD_KAFKA_RESOURCE_GROUP
                                                                    : RD_KAFKA_RESOURCE_UNKNOWN;
    snprintf(principal, sizeof principal, "User:%s", words[2]);
    rd_kafka_AclBinding_t *(*make)(rd_kafka_ResourceType_t, const char *, rd_kafka_ResourcePatternType_t, const char *,
                                   const char *, rd_kafka_AclOperation_t, rd_kafka_AclPermissionType_t, char *,
                                   size_t) = filter ? rd_kafka_AclBindingFilter_new : rd_kafka_AclBinding_new;
    rd_kafka_AclBinding_t *acl = make(kind, words[1], RD_KAFKA_RESOURCE_PATTERN_LITERAL, principal, "*",
                                      operation_of(words[3]), RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW, why, sizeof why);
    if (!acl) die(words[1], why);
    return acl;
}

/* Every result of the answer, or how the whole request failed. */
static void check(rd_kafka_event_t *event, int remove, size_t expected) {
    size_t count = 0;
    if (!event) die("the broker", "no answer");
    if (rd_kafka_event_error(event)) die("the broker", rd_kafka_event_error_string(event));
    if (remove) {
        const rd_kafka_DeleteAcls_result_response_t **results =
            rd_kafka_DeleteAcls_result_responses(rd_kafka_event_DeleteAcls_result(event), &count);
        for (size_t i = 0; i < count; i++) {
            size_t matched;
            const rd_kafka_error_t *err = rd_kafka_DeleteAcls_result_response_error(results[i]);
            rd_kafka_DeleteAcls_result_response_matching_acls(results[i], &matched);
            if (err || matched != 1) die("delete", err ? rd_kafka_error_string(err) : "there is no such ACL");
        }
    } else {
        const rd_kafka_acl_result_t **results =
            rd_kafka_CreateAcls_result_acls(rd_kafka_event_CreateAcls_result(event), &count);
        for (size_t i = 0; i < count; i++)
            if (rd_kafka_acl_result_error(results[i]))
                die("create", rd_kafka_error_string(rd_kafka_acl_result_error(results[i])));
    }
    if (count != expected) die("the broker", "an answer of another length");
}

int main(int argc, char **argv) {
    char why[256];
    size_t count = argc > 3 ? (size_t)(argc - 3) / WORDS : 0;
    int remove = argc > 2 && strcmp(argv[2], "remove") == 0;
    if (count == 0 || count > ACLS_MAX || (argc - 3) % WORDS != 0)
        die("usage", "BOOTSTRAP add|remove KIND NAME USER OPERATION ...");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (rd_kafka_conf_set(conf, "bootstrap.servers", argv[1], why, sizeof why) != RD_KAFKA_CONF_OK) die(argv[1], why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!rk) die(argv[1], why);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_AclBinding_t *acls[ACLS_MAX];
    for (size_t i = 0; i < count; i++) acls[i] = binding(argv + 3 + WORDS * i, remove);
    if (remove)
        rd_kafka_DeleteAcls(rk, acls, count, NULL, queue);
    else
        rd_kafka_CreateAcls(rk, acls, count, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, ANSWER_MS);
    check(event, remove, count);
    rd_kafka_event_destroy(event);
    rd_kafka_AclBinding_destroy_array(acls, count);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
    return 0;
}
