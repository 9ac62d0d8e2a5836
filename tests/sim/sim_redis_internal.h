/* Inside sim_redis: values and replies, shared by the commands and by the server around them. */
#ifndef PENSTOCK_SIM_REDIS_INTERNAL_H
#define PENSTOCK_SIM_REDIS_INTERNAL_H

#include "sim_redis.h"

/* Ends the program: nobody may go on with an answer that Redis would not give. */
void sim_redis__die(const char *what, const struct store__args *args) __attribute__((noreturn));

redisReply *sim_redis__reply_int(int64_t n);
redisReply *sim_redis__reply_text(int type, const char *bytes, size_t len);
redisReply *sim_redis__reply_nil(void);
redisReply *sim_redis__reply_array(void);
void sim_redis__reply_push(redisReply *reply, redisReply *element_take);

bool sim_redis__word_is(const struct store__args *args, size_t at, const char *word);
double sim_redis__number(const struct store__args *args, size_t at);

/* The data commands, by name; NULL if there is none of that name that takes so many arguments. */
typedef redisReply *sim_redis__command_fn(struct sim_redis *redis, const struct store__args *args);
sim_redis__command_fn *sim_redis__data_command(const struct store__args *args);
void sim_redis__data_free(struct sim_redis *redis);

#endif
