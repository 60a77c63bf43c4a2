/* Begins and ends the interpreter ten times; each calls native code through ctypes. */
#include <Python.h>

int main(void)
{
    for (int round = 0; round < 10; round++) {
        Py_Initialize();
        if (PyRun_SimpleString("from traffic import *\nprint(traffic(), flush=True)\nleak(1)\n"))
            return 1;
        if (Py_FinalizeEx())
            return 2;
    }
    return 0;
}
