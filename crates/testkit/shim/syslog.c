/* Stands before libc's syslog(3) in programs started with LD_PRELOAD: lines go to the socket that TESTKIT_SYSLOG names,
 * not to /dev/log, which is one for the whole machine.
 *
 * A line is what glibc would send: <priority>time ident[pid]: text. Each one opens a socket of its own, so that nothing is
 * shared between threads or survives a fork, and no file descriptor is held that a daemon closes. */

/* With it, syslog.h would define syslog() itself. */
#undef _FORTIFY_SOURCE
#define _GNU_SOURCE

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* Longer lines are cut; Cyrus' longest are of some kilobytes. */
enum { LINE_BYTES = 32 * 1024 };

static const char *ident;
static int options;
static int facility = LOG_USER;
static int mask = LOG_UPTO(LOG_DEBUG);

void openlog(const char *name, int how, int who)
{
    if (name != NULL)
        ident = name;
    options = how;
    if (who != 0 && (who & ~LOG_FACMASK) == 0)
        facility = who;
}

void closelog(void)
{
    ident = NULL;
}

int setlogmask(int wanted)
{
    int before = mask;
    if (wanted != 0)
        mask = wanted;
    return before;
}

static void deliver(const char *line, size_t length)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const char *path = getenv("TESTKIT_SYSLOG");
    if (path == NULL || strlen(path) >= sizeof address.sun_path)
        return;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    while (sendto(fd, line, length, MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address) < 0 && errno == EINTR)
        ;
    close(fd);
}

void vsyslog(int priority, const char *format, va_list args)
{
    int saved = errno; /* for %m */
    if ((mask & LOG_MASK(LOG_PRI(priority))) == 0)
        return;
    if ((priority & LOG_FACMASK) == 0)
        priority |= facility;
    char *line = malloc(LINE_BYTES);
    if (line == NULL)
        return;
    char stamp[32], process[32] = "";
    time_t now = time(NULL);
    struct tm parts;
    strftime(stamp, sizeof stamp, "%b %e %T", localtime_r(&now, &parts));
    if (options & LOG_PID)
        snprintf(process, sizeof process, "[%d]", (int)getpid());
    int length = snprintf(line, LINE_BYTES, "<%d>%s %s%s: ", priority & (LOG_PRIMASK | LOG_FACMASK), stamp,
                          ident ? ident : program_invocation_short_name, process);
    if (length > 0 && length < LINE_BYTES) {
        errno = saved;
        int more = vsnprintf(line + length, LINE_BYTES - length, format, args);
        if (more > 0)
            length += more;
        deliver(line, length < LINE_BYTES ? length : LINE_BYTES - 1);
    }
    free(line);
    errno = saved;
}

void syslog(int priority, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsyslog(priority, format, args);
    va_end(args);
}

/* What programs call that were compiled with _FORTIFY_SOURCE, as Debian's are. */
void __vsyslog_chk(int priority, int flag, const char *format, va_list args)
{
    (void)flag;
    vsyslog(priority, format, args);
}

void __syslog_chk(int priority, int flag, const char *format, ...)
{
    (void)flag;
    va_list args;
    va_start(args, format);
    vsyslog(priority, format, args);
    va_end(args);
}
