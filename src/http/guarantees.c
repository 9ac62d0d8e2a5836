/* GET /v1/guarantees: what an acknowledgement is worth at present. Everything is asked of Redis and Kafka when the request
 * comes, nothing is taken from what the configuration wishes; what may not be read is null and says why. The question
 * behind each judgement is one: does what was acknowledged survive the crash of any one machine? The first rule that
 * gives a reason to doubt it is the one that is told, the worst first.
 *
 * A server that is away is an answer, too: this is the page that people open when something is wrong. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "http_internal.h"
#include "penstock/relay.h"

/* --- rules ---------------------------------------------------------------------------------------------------------
 */

struct http_judgement http__judge_redis(const struct store_durability *redis) {
    const char *fsync = redis->appendfsync;
    if (strcmp(redis->maxmemory_policy, "noeviction") != 0)
        return (struct http_judgement){0, "When its memory is full, Redis deletes records of jobs."};
    if (!redis->appendonly)
        return (struct http_judgement){
            0, "A Redis crash can lose every transition since its last snapshot: it has no append-only file."};
    if (redis->append_fails)
        return (struct http_judgement){
            0, "A Redis crash can lose transitions without limit: it cannot write its append-only file at present."};
    if (!fsync)
        return (struct http_judgement){
            -1, "Redis has an append-only file; how much of it a crash of its machine can lose is not known."};
    if (strcmp(fsync, "always") == 0) return (struct http_judgement){1, "A Redis crash loses no transition."};
    if (strcmp(fsync, "everysec") == 0)
        return (struct http_judgement){
            0, "A crash of Redis' machine can lose about 1 s of transitions, one of the Redis process alone none."};
    return (struct http_judgement){
        0, "A crash of Redis' machine can lose what its kernel had not written: often 30 s of transitions."};
}

struct http_judgement http__judge_topic(const struct bus_topic_durability *topic, struct arena *arena) {
    if (topic->partitions == 0) return (struct http_judgement){0, "There is no such topic, or it may not be seen."};
    if (topic->cleanup_policy && strstr(topic->cleanup_policy, "compact"))
        return (struct http_judgement){0, "Compaction deletes a job's earlier messages."};
    if (topic->unclean_leader_election == 1)
        return (struct http_judgement){
            0, "A replica that lags behind may become the leader: acknowledged messages can be lost."};
    if (topic->replication_factor < 2)
        return (struct http_judgement){0, "There is one copy: the loss of its broker can lose acknowledged messages."};
    if (topic->min_insync_replicas < 0)
        return (struct http_judgement){-1, "How many copies an acknowledgement stands for is not known."};
    if (topic->min_insync_replicas < 2)
        return (struct http_judgement){
            0,
            "While the other replicas lag behind, one copy is enough for an acknowledgement: its broker's loss loses it."};
    return (struct http_judgement){
        1, arena_printf(arena, "An acknowledged message is on at least %d brokers.", topic->min_insync_replicas)};
}

/* Of both: what is certainly not so counts more than what is not known. */
static int both(int a, int b) { return a == 0 || b == 0 ? 0 : a < 0 || b < 0 ? -1 : 1; }

/* --- what was found ------------------------------------------------------------------------------------------------
 */

static void put_judgement(struct buf *out, struct http_judgement judged) {
    http__put_maybe(out, ",\"survives_crash\":", judged.survives_crash);
    http__put_text(out, ",\"means\":", judged.means);
}

static void put_known(struct buf *out, const char *before, int number) {
    if (number < 0)
        http__put_maybe(out, before, -1);
    else
        http__put_int(out, before, number);
}

static void put_known_text(struct buf *out, const char *before, const char *text) {
    if (text)
        http__put_text(out, before, text);
    else
        http__put_maybe(out, before, -1);
}

static struct http_judgement put_away(struct buf *out, const char *before, const char *means, const char *why) {
    struct http_judgement judged = {-1, means};
    buf_puts(out, before);
    buf_puts(out, "{\"reachable\":false");
    put_judgement(out, judged);
    http__put_text(out, ",\"unknown\":", why);
    buf_puts(out, "}");
    return judged;
}

static struct http_judgement put_redis(struct http_request *req, struct buf *out) {
    struct store_durability found;
    struct err err;
    if (http__store(req, &err) != 0 || store_durability_get(req->st, &req->arena, &found, &err) != 0)
        return put_away(out, ",\"redis\":", "Redis does not answer: nothing is known of it.", err.msg);
    struct http_judgement judged = http__judge_redis(&found);
    buf_puts(out, ",\"redis\":{\"reachable\":true");
    put_judgement(out, judged);
    http__put_text(out, ",\"version\":", found.version);
    http__put_text(out, ",\"role\":", found.role);
    http__put_maybe(out, ",\"appendonly\":", found.appendonly);
    http__put_maybe(out, ",\"append_works\":", !found.append_fails);
    put_known_text(out, ",\"appendfsync\":", found.appendfsync);
    http__put_text(out, ",\"maxmemory_policy\":", found.maxmemory_policy);
    http__put_int(out, ",\"replicas\":", found.replicas);
    http__put_text(out, ",\"replication\":",
                   found.replicas > 0 ? "Asynchronous: a failover can lose transitions that no replica had yet."
                                      : "No replica is connected.");
    if (found.unknown) http__put_text(out, ",\"unknown\":", found.unknown);
    buf_puts(out, "}");
    return judged;
}

static int put_topic(struct http_request *req, const struct bus_topic_durability *topic, struct buf *out) {
    struct http_judgement judged = http__judge_topic(topic, &req->arena);
    http__put_text(out, "{\"topic\":", topic->topic);
    put_judgement(out, judged);
    http__put_int(out, ",\"partitions\":", topic->partitions);
    http__put_int(out, ",\"replication_factor\":", topic->replication_factor);
    http__put_int(out, ",\"in_sync\":", topic->in_sync);
    put_known(out, ",\"min_insync_replicas\":", topic->min_insync_replicas);
    http__put_maybe(out, ",\"unclean_leader_election\":", topic->unclean_leader_election);
    put_known_text(out, ",\"cleanup_policy\":", topic->cleanup_policy);
    if (topic->unknown) http__put_text(out, ",\"unknown\":", topic->unknown);
    buf_puts(out, "}");
    return judged.survives_crash;
}

static int ask_kafka(struct http_request *req, struct bus_durability *ret, struct err *err) {
    if (!http__monitor_kafka(req->http->monitor)) /* waiting for it would take seconds */
        return err_set(err, ERR_BUS_UNAVAILABLE, "no broker answered a moment ago");
    return http__publisher_durability(req->http->publisher, &req->arena, ret, err);
}

static struct http_judgement put_kafka(struct http_request *req, struct buf *out) {
    static const char *const means[] = {
        "How much the loss of a broker can cost is not known: see the topics.",
        "The loss of one broker can lose acknowledged messages: see the topics.",
        "The loss of any one broker loses no acknowledged message.",
    };
    struct bus_durability found;
    struct buf topics = {0};
    struct err err;
    struct http_judgement judged = {1, NULL};
    if (ask_kafka(req, &found, &err) != 0)
        return put_away(out, ",\"kafka\":", "Kafka does not answer: nothing is known of it.", err.msg);
    for (size_t i = 0; i < HTTP_TOPICS; i++) {
        if (i) buf_puts(&topics, ",");
        judged.survives_crash = both(judged.survives_crash, put_topic(req, &found.topics[i], &topics));
    }
    judged.means = means[judged.survives_crash + 1];
    buf_puts(out, ",\"kafka\":{\"reachable\":true");
    put_judgement(out, judged);
    http__put_text(out, ",\"acks\":", found.acks);
    http__put_maybe(out, ",\"idempotence\":", found.idempotence);
    http__put_int(out, ",\"brokers\":", found.brokers);
    http__put_text(out, ",\"flush\":",
                   "A broker acknowledges before it writes to disk: a power cut of all replicas of "
                   "a partition together can lose messages.");
    buf_puts(out, ",\"topics\":[");
    buf_append(out, topics.data, topics.len);
    buf_puts(out, "]}");
    buf_done(&topics);
    return judged;
}

int http__guarantees(struct http_request *req, struct err *err) {
    struct buf parts = {0}, *out = &req->res.body;
    struct http_judgement redis = put_redis(req, &parts), kafka = put_kafka(req, &parts);
    http__put_maybe(out, "{\"survives_crash\":", both(redis.survives_crash, kafka.survives_crash));
    http__put_text(out, ",\"means\":[", redis.means);
    http__put_text(out, ",", kafka.means);
    http__put_text(out, ",", RELAY_MEANS);
    http__put_text(out, "],\"relay\":{\"delivery\":", RELAY_DELIVERY);
    http__put_text(out, ",\"means\":", RELAY_MEANS);
    buf_puts(out, "}");
    buf_append(out, parts.data, parts.len);
    buf_puts(out, "}");
    buf_done(&parts);
    http__json(req, 200);
    return HTTP_DONE;
}
