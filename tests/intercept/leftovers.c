// Blocks whose only pointers stand in memory that nobody recorded, and that is released afterwards.
#include <stdint.h>
#include <stdlib.h>

enum { ROOM_MAX = 64, PLACE = 6 };

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

// A room in memory that somebody else has.
void use_room(uintptr_t place)
{
    count = 1;
    rooms[0] = (void **)place;
}

void fill_rooms(void)
{
    for (int room = 0; room < count; ++room)
        rooms[room][PLACE] = malloc(48);
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
