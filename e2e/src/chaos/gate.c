/* Stops a program exactly behind a line of its journal. Loaded into the agent by LD_PRELOAD; the program itself is the one
 * that is shipped, and knows nothing of it.
 *
 * The agent writes each record of its journal and then calls fdatasync; what follows a record happens after that call. This
 * library carries the call out and, if the file is called "journal", looks for a FIFO gates/<record> beside it, where <record>
 * is the name of the last record. If there is one, it is opened for reading: that blocks until somebody opens it for
 * writing, who thereby knows that the program stands there, and ends when that somebody closes it. Without such a FIFO nothing
 * happens.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LONGEST_RECORD 65536

/* The name of the last record of the file: its line is <checksum> {"<name>":...}. */
static int last_record(int fd, char *name, size_t size) {
    char tail[LONGEST_RECORD];
    struct stat about;
    if (fstat(fd, &about) != 0) return 0;
    off_t start = about.st_size > (off_t)sizeof tail ? about.st_size - (off_t)sizeof tail : 0;
    ssize_t length = pread(fd, tail, sizeof tail, start);
    if (length < 2 || tail[length - 1] != '\n') return 0;
    char *line = memrchr(tail, '\n', (size_t)length - 1);
    line = line ? line + 1 : tail;
    char *end = tail + length;
    char *key = memmem(line, (size_t)(end - line), "{\"", 2);
    if (!key) return 0;
    key += 2;
    char *quote = memchr(key, '"', (size_t)(end - key));
    if (!quote || (size_t)(quote - key) >= size) return 0;
    memcpy(name, key, (size_t)(quote - key));
    name[quote - key] = '\0';
    return 1;
}

static void wait_at_gate(int fd) {
    char link[64], path[PATH_MAX], name[64], gate[PATH_MAX + 80], byte;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = '\0';
    char *file = strrchr(path, '/');
    if (!file || strcmp(file, "/journal") != 0) return;
    if (!last_record(fd, name, sizeof name)) return;
    snprintf(gate, sizeof gate, "%.*s/gates/%s", (int)(file - path), path, name);
    int fifo;
    do { fifo = open(gate, O_RDONLY | O_CLOEXEC); } while (fifo < 0 && errno == EINTR);
    if (fifo < 0) return;
    ssize_t got;
    do { got = read(fifo, &byte, 1); } while (got > 0 || (got < 0 && errno == EINTR));
    close(fifo);
}

int fdatasync(int fd) {
    int done = (int)syscall(SYS_fdatasync, fd);
    int error = errno;
    if (done == 0) wait_at_gate(fd);
    errno = error;
    return done;
}
