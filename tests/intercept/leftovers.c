// Blocks whose only pointers stand in memory that nobody recorded, and that is released afterwards.
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { ROOM_MAX = 64, PLACE = 6, BLOCK_SIZE = 48 };
enum { HOLE_MAX = 20000, HOLE_SIZE_MAX = 256 };

static void **rooms[ROOM_MAX];
void *walls[ROOM_MAX];
static int count;

// In front of every session: what is allocated here is not on record.
void make_rooms(int number, int size, int walled)
{
    count = number;
    for (int room = 0; room < count; ++room) {
        rooms[room] = calloc(1, size);
        walls[room] = walled ? malloc(size) : NULL;
    }
}

// The middle one of three blocks in use that lie side by side: glibc does not look at its size while
// nobody releases one of them.
void *make_place_to_damage(void)
{
    for (int attempt = 0; attempt < 100; ++attempt) {
        char *three[3];
        for (int number = 0; number < 3; ++number)
            three[number] = malloc(600);
        if (three[1] - three[0] == 608 && three[2] - three[1] == 608)
            return three[1];
    }
    return NULL;
}

static int asked[3];

static void *make_rooms_of_thread(void *unused)
{
    make_rooms(asked[0], asked[1], asked[2]);
    return unused;
}

// In the arena that a thread gets.
void make_rooms_in_thread(int number, int size, int walled)
{
    pthread_t thread;
    asked[0] = number;
    asked[1] = size;
    asked[2] = walled;
    pthread_create(&thread, NULL, make_rooms_of_thread, NULL);
    pthread_join(thread, NULL);
}

// A room in memory that somebody else has.
void use_room(uintptr_t place)
{
    count = 1;
    rooms[0] = (void **)place;
}

// A large block between the rooms and the end of the heap, released: nobody may touch its pages then.
void close_above_rooms(void)
{
    mallopt(M_MMAP_THRESHOLD, 16 << 20);
    void *volatile large = malloc(4 << 20);
    void *volatile above = malloc(600);
    free(large);
    free(above);
}

// So that blocks come from memory that nobody had before: in a hole that the interpreter left there may
// lie a place to which it has forgotten a pointer, and where holes are depends on its environment.
// Nobody intercepts the inner name of malloc.
void *__libc_malloc(size_t size);

static void close_holes(void)
{
    static void *volatile closed;
    if (closed)
        return;
    for (int size = BLOCK_SIZE; size <= HOLE_SIZE_MAX; size += 16)
        for (int hole = 0; hole < HOLE_MAX; ++hole)
            closed = __libc_malloc(size);
}

void fill_rooms(void)
{
    close_holes();
    for (int room = 0; room < count; ++room)
        rooms[room][PLACE] = malloc(BLOCK_SIZE);
}

// The last word in front of a room, which belongs to another object: a place for a short text.
char *text_before_room(void)
{
    for (int room = 1; room < count; ++room) {
        size_t *header = (size_t *)rooms[room] - 2;
        if ((char *)rooms[room] - (char *)rooms[room - 1] == (long)(header[1] & ~7ul)) {
            rooms[0] = rooms[room];
            return (char *)header;
        }
    }
    return NULL;
}

// Stores a block in the first room, whatever it is given.
int keep_beside(const char *text)
{
    rooms[0][0] = malloc(BLOCK_SIZE);
    return text[0];
}

void leave_rooms(void)
{
    for (int room = 0; room < count; ++room)
        rooms[room] = NULL;
}

void release_rooms(void)
{
    for (int room = 0; room < count; ++room)
        free(rooms[room]);
    leave_rooms();
}
