/* What `queues`, `workers` and `top` share: the same rows and the same JSON, whoever shows them.
 *
 *     struct cli_table table;
 *     cli__queue_table_init(&table);
 *     cli__queue_row(&table, &queues[i], now_ms);
 *     cli__table_print(&table, ctx, true);
 */
#ifndef PENSTOCK_CLI_VIEW_H
#define PENSTOCK_CLI_VIEW_H

#include "cli_jobs.h"

/* --- cli_view.c: queues and workers as rows and as JSON ----------------------------------------------------------- */
const char *cli__mode_name(enum store_mode mode);
void cli__queue_table_init(struct cli_table *table);
void cli__queue_row(struct cli_table *table, const struct store_queue *queue, int64_t now_ms);
void cli__queue_json(const struct store_queue *queue, struct buf *out);    /* one object */
void cli__worker_json(const struct store_worker *worker, struct buf *out); /* one object */
void cli__worker_jobs(const struct store_worker *worker, struct buf *out); /* the first ids, and how many more */

/* --- cli_screen.c: the whole terminal, for a view that is drawn again and again ----------------------------------- */
enum { CLI_SCREEN_TIME = 0, CLI_SCREEN_CHANGED = -1, CLI_SCREEN_END = -2 };
/* Takes the terminal of standard output: another page, no cursor, keys without echo. It is given back by close, when
 * the person suspends us, and when a signal ends us. One at a time. */
int cli__screen_open(struct err *err) MUSTCHECK;
void cli__screen_close(void);
void cli__screen_size(size_t *ret_columns, size_t *ret_rows);
/* Draws lines (colours are allowed); what is beyond the screen's edges is left out. */
void cli__screen_show(const char *text);
/* Waits for at most so long. Returns the key that was pressed, or CLI_SCREEN_TIME (it is over), _CHANGED (another size,
 * or back from the background: draw again), _END (Ctrl-C, or any other signal to end; the terminal has gone). */
int cli__screen_wait(int64_t ms);

#endif
