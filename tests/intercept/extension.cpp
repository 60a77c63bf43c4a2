// A Python module in C++ that keeps texts in a way that nobody finds: pybind11 does.
#include <Python.h>
#include <string>

static void forget(const char *text) {
    auto *volatile lost = new std::string();
    lost->assign(text);
    lost->append(" and more than fits into the string itself");
    lost = nullptr;
}

static const int in_constructor = [] {
    auto *volatile lost = new char[300];
    lost[0] = 'a';
    forget("in a constructor");
    return 1;
}();

static PyModuleDef definition = {PyModuleDef_HEAD_INIT, "extension", nullptr, -1, nullptr,
                                 nullptr, nullptr, nullptr, nullptr};

PyMODINIT_FUNC PyInit_extension() {
    forget("a text");
    return PyModule_Create(&definition);
}

// The same, called as a foreign function: then it is a leak.
extern "C" void forget_one() { forget("another"); }
