// SPDX-License-Identifier: Apache-2.0
// Lines of the log that clients cause, and how many of them there may be.
//
// Whoever is refused again and again would fill the disk the store lies on, and the loop would wait for it.
// So a connection has LINES_AT_ONCE lines and one more each second, all connections together
// SERVER_LINES_AT_ONCE and as many more each second. What is left out is counted and told: with the
// connection's next line or at its end, and by a timer for those that were one too many for all. DEBUG and
// TRACE have no bound: they are asked for by who runs the server.
//
// Loop thread only.
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/time.h"
#include "broker/broker.h"

enum { LINES_AT_ONCE = 10, SERVER_LINES_AT_ONCE = 100 };

static const int64_t line_ns = DBK_SECOND_NS;
static const int64_t server_line_ns = DBK_SECOND_NS / SERVER_LINES_AT_ONCE;

/// A bucket as one number: when it will be full again. False: it is empty.
static bool take_one(int64_t *full_ns, int64_t now_ns, int64_t each_ns, int64_t count_max) {
    int64_t from_ns = *full_ns > now_ns ? *full_ns : now_ns;
    if (from_ns + each_ns > now_ns + each_ns * count_max) return false;
    *full_ns = from_ns + each_ns;
    return true;
}

void dbk_broker_tell_left_out(dbk_timer *timer) {
    dbk_broker *broker = DBK_OWNER(timer, dbk_broker, log_timer);
    if (broker->left_out_count == 0) return;
    dbk_broker_log(broker, WARNING, "%" PRIu64 " lines about connections were left out",
                   broker->left_out_count);
    broker->left_out_count = 0;
}

static bool may_write(dbk_client *client, int64_t now_ns) {
    dbk_broker *broker = client->broker;
    if (!take_one(&client->log_full_ns, now_ns, line_ns, LINES_AT_ONCE)) {
        client->left_out_count++;
        return false;
    }
    if (take_one(&broker->log_full_ns, now_ns, server_line_ns, SERVER_LINES_AT_ONCE)) return true;
    broker->left_out_count++;
    if (!broker->log_timer.is_active) dbk_broker_start_timer(broker, &broker->log_timer, DBK_SECOND_NS);
    return false;
}

static void write_line(const dbk_client *client, int level, const char *text) {
    dbk_log_write(client->broker->log, level, "%s:%d - cid:%" PRIu64 " - %s", client->address, client->port,
                  client->id, text);
}

static void tell_left_out(dbk_client *client) {
    char text[64];
    (void)snprintf(text, sizeof text, "%" PRIu64 " more lines were left out", client->left_out_count);
    client->left_out_count = 0;
    write_line(client, DAYBOOK_SERVER_LOG_WARNING, text);
}

void dbk_client_log_line(dbk_client *client, int level, const char *format, ...) {
    if (!dbk_log_wants(client->broker->log, level)) return;
    bool is_bounded = level <= DAYBOOK_SERVER_LOG_INFO;
    if (is_bounded && !may_write(client, dbk_broker_now_ns(client->broker))) return;
    if (is_bounded && client->left_out_count > 0) tell_left_out(client);
    char text[DBK_LOG_LINE_MAX];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    write_line(client, level, text);
}

void dbk_client_end_log(dbk_client *client) {
    if (client->left_out_count == 0) return;
    if (take_one(&client->broker->log_full_ns, dbk_broker_now_ns(client->broker), server_line_ns,
                 SERVER_LINES_AT_ONCE)) {
        tell_left_out(client);
    } else {
        client->broker->left_out_count += client->left_out_count;
        client->left_out_count = 0;
    }
}
