// A library whose static constructors allocate in every way, and whose objects live until its end.
#include <cstdlib>
#include <map>
#include <string>

static std::map<int, std::string> names = {{1, std::string(40, 'a')}, {2, std::string(50, 'b')}};
static int *numbers = new int[12];
static int *number = new int(7);
// Never released.
char *table = new char[400];
static std::string *text = new std::string(60, 'c');

// Memory of before the constructors, released in them: the other way round.
struct replaced {
    replaced() {
        delete text;
        text = new std::string(80, 'd');
        delete[] numbers;
        numbers = new int[20];
    }
};
static replaced in_constructor;

struct at_end {
    ~at_end() {
        delete[] numbers;
        delete number;
        delete text;
    }
};
static at_end last;

extern "C" std::size_t count() {
    names[static_cast<int>(names.size()) + 1] = std::string(70, 'e');
    names.erase(1);
    delete text;
    text = new std::string(90, 'f');
    delete[] numbers;
    numbers = new int[30];
    return names.size();
}
