/* The vtables' front: checks that hold for every implementation, the real one and a simulation's alike, stand here
 * once. */
#include "penstock/bus.h"

int bus_poll(struct bus_consumer *con, size_t max, int timeout_ms, struct bus_batch *ret, struct err *err) {
    BUG_ON(max == 0);
    BUG_ON(ret->release); /* the batch before was not released: its messages would leak */
    return con->ops->poll(con, max, timeout_ms, ret, err);
}

void bus_batch_release(struct bus_batch *batch) {
    if (batch->release) batch->release(batch);
    *batch = (struct bus_batch){0};
}

int bus_commit(struct bus_consumer *con, const struct bus_position *positions, size_t count, struct err *err) {
    return count == 0 ? 0 : con->ops->commit(con, positions, count, err);
}

int bus_pause(struct bus_consumer *con, const char *topic, bool paused, struct err *err) {
    return con->ops->pause(con, topic, paused, err);
}

void bus_ask_again(struct bus_consumer *con) { con->ops->ask_again(con); }

void bus_consumer_free(struct bus_consumer *con) {
    if (con) con->ops->free(con);
}

int bus_produce(struct bus_producer *prod, const struct bus_out *msg, struct err *err) {
    return prod->ops->produce(prod, msg, err);
}

int bus_producer_poll(struct bus_producer *prod, int timeout_ms, struct err *err) {
    return prod->ops->poll(prod, timeout_ms, err);
}

void bus_producer_free(struct bus_producer *prod) {
    if (prod) prod->ops->free(prod);
}
