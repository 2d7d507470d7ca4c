/* Serializes whole subtrees of an answer, as the Python functions from execution/subtrees.py do.

   A Serializer is created from a shape: nested tuples, which execution/native.py builds and describes. The tuples are
   read once into the structs below, which borrow references from them; the Serializer owns the tuples. Any value that
   the Serializer cannot handle raises, and the caller executes the same fields one by one: no error of this file ever
   reaches a client. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <datetime.h>
#include <stdbool.h>

enum kind {
    KIND_TEXT,        /* exactly a str */
    KIND_BOOLEAN,     /* exactly a bool */
    KIND_INT,         /* exactly an int of 32 bits */
    KIND_ENUM,        /* the name in a dict */
    KIND_TEXT_OF_INT, /* an int or a str, as a str */
    KIND_CALL,        /* serialized by a Python function */
    KIND_FIXED_POINT, /* an int as a plain decimal */
    KIND_TIME,        /* RFC 3339 in UTC with six fraction digits */
    KIND_DAY,         /* YYYY-MM-DD */
    KIND_LIST,
    KIND_OBJECT,
    KINDS
};

#define MAX_DIGITS 18

struct field;

struct value {
    enum kind kind;
    bool nullable;
    /* For leaves */
    PyObject *names;    /* KIND_ENUM: a dict */
    PyObject *function; /* serializes values that C does not */
    PyObject *plain;    /* classes of values for the function, or NULL for any */
    PyObject *unusual;  /* called with a serialized value that is not a str */
    long digits, least;
    unsigned long long scale;
    /* For lists */
    struct value *item;
    /* For objects */
    PyObject *known, *admit, *is_type_of, *template;
    PyTypeObject *last; /* the class last found in `known`, which owns it */
    struct field *fields;
    Py_ssize_t field_count;
};

struct field {
    PyObject *key;
    PyObject *attribute; /* either this or the method */
    PyObject *method;
    struct value value;
};

typedef struct {
    PyObject_HEAD
    PyObject *shape;
    struct value value;
} Serializer;

static PyObject *
surprise(void)
{
    PyErr_SetString(PyExc_TypeError, "not a value that is serialized here");
    return NULL;
}

/* Leaves */

static void
put_digits(char *at, unsigned long long number, int width)
{
    for (int place = width - 1; place >= 0; place--) {
        at[place] = (char)('0' + number % 10);
        number /= 10;
    }
}

static PyObject *
ascii(const char *text, Py_ssize_t length)
{
    PyObject *made = PyUnicode_New(length, 127);
    if (made != NULL)
        memcpy(PyUnicode_1BYTE_DATA(made), text, (size_t)length);
    return made;
}

static PyObject *
serialize_fixed_point(const struct value *how, long long number)
{
    char text[64];
    char *end = text + sizeof text, *at = end;
    unsigned long long size = number < 0 ? 0ULL - (unsigned long long)number : (unsigned long long)number;
    unsigned long long whole = size / how->scale, fraction = size % how->scale;
    long digits = how->digits;
    while (digits > how->least && fraction % 10 == 0) {
        fraction /= 10;
        digits--;
    }
    if (digits > 0) {
        at -= digits;
        put_digits(at, fraction, (int)digits);
        *--at = '.';
    }
    do {
        *--at = (char)('0' + whole % 10);
        whole /= 10;
    } while (whole);
    if (number < 0)
        *--at = '-';
    return ascii(at, end - at);
}

static void
put_day(char *at, PyObject *day)
{
    put_digits(at, (unsigned long long)PyDateTime_GET_YEAR(day), 4);
    at[4] = at[7] = '-';
    put_digits(at + 5, (unsigned long long)PyDateTime_GET_MONTH(day), 2);
    put_digits(at + 8, (unsigned long long)PyDateTime_GET_DAY(day), 2);
}

static PyObject *
serialize_time(PyObject *moment)
{
    char text[27];
    put_day(text, moment);
    text[10] = 'T';
    put_digits(text + 11, (unsigned long long)PyDateTime_DATE_GET_HOUR(moment), 2);
    text[13] = text[16] = ':';
    put_digits(text + 14, (unsigned long long)PyDateTime_DATE_GET_MINUTE(moment), 2);
    put_digits(text + 17, (unsigned long long)PyDateTime_DATE_GET_SECOND(moment), 2);
    text[19] = '.';
    put_digits(text + 20, (unsigned long long)PyDateTime_DATE_GET_MICROSECOND(moment), 6);
    text[26] = 'Z';
    return ascii(text, sizeof text);
}

static PyObject *
serialize_by_call(const struct value *how, PyObject *value)
{
    if (how->plain != NULL) {
        int found = PySet_Contains(how->plain, (PyObject *)Py_TYPE(value));
        if (found <= 0)
            return found < 0 ? NULL : surprise();
    }
    PyObject *serialized = PyObject_CallOneArg(how->function, value);
    if (serialized == NULL || PyUnicode_CheckExact(serialized))
        return serialized;
    PyObject *checked = PyObject_CallOneArg(how->unusual, serialized);
    Py_DECREF(serialized);
    return checked;
}

static PyObject *
serialize_int(PyObject *value)
{
    if (!PyLong_CheckExact(value))
        return surprise();
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow || number < INT32_MIN || number > INT32_MAX)
        return surprise();
    return Py_NewRef(value);
}

static PyObject *
serialize_leaf(const struct value *how, PyObject *value)
{
    switch (how->kind) {
    case KIND_TEXT:
        return PyUnicode_CheckExact(value) ? Py_NewRef(value) : surprise();
    case KIND_BOOLEAN:
        return PyBool_Check(value) ? Py_NewRef(value) : surprise();
    case KIND_INT:
        return serialize_int(value);
    case KIND_ENUM: {
        PyObject *name = PyDict_GetItemWithError(how->names, value);
        if (name == NULL)
            return PyErr_Occurred() ? NULL : surprise();
        return Py_NewRef(name);
    }
    case KIND_TEXT_OF_INT:
        if (PyUnicode_CheckExact(value))
            return Py_NewRef(value);
        return PyLong_CheckExact(value) ? PyObject_Str(value) : surprise();
    case KIND_FIXED_POINT:
        if (PyLong_CheckExact(value)) {
            int overflow;
            long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
            if (!overflow)
                return serialize_fixed_point(how, number);
        }
        break;
    case KIND_TIME:
        if (PyDateTime_CheckExact(value) && PyDateTime_DATE_GET_TZINFO(value) == PyDateTime_TimeZone_UTC)
            return serialize_time(value);
        break;
    case KIND_DAY:
        if (PyDate_CheckExact(value)) {
            char text[10];
            put_day(text, value);
            return ascii(text, sizeof text);
        }
        break;
    default:
        break;
    }
    return serialize_by_call(how, value);
}

/* Lists and objects */

static PyObject *serialize_value(struct value *how, PyObject *value);

static PyObject *
serialize_list(struct value *how, PyObject *values)
{
    bool is_list = PyList_CheckExact(values);
    if (!is_list && !PyTuple_CheckExact(values))
        return surprise();
    Py_ssize_t count = is_list ? PyList_GET_SIZE(values) : PyTuple_GET_SIZE(values);
    PyObject *serialized = PyList_New(count);
    if (serialized == NULL)
        return NULL;
    for (Py_ssize_t index = 0; index < count; index++) {
        /* Python code called in between may have changed the list. */
        if (is_list && index >= PyList_GET_SIZE(values)) {
            Py_DECREF(serialized);
            return surprise();
        }
        PyObject *value = Py_NewRef(is_list ? PyList_GET_ITEM(values, index) : PyTuple_GET_ITEM(values, index));
        PyObject *one = serialize_value(how->item, value);
        Py_DECREF(value);
        if (one == NULL) {
            Py_DECREF(serialized);
            return NULL;
        }
        PyList_SET_ITEM(serialized, index, one);
    }
    return serialized;
}

static bool
is_admitted(struct value *how, PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    int found = PySet_Contains(how->known, (PyObject *)type);
    if (found < 0)
        return false;
    if (found == 0) {
        PyObject *done = PyObject_CallFunctionObjArgs(how->admit, how->known, object, NULL);
        if (done == NULL)
            return false;
        Py_DECREF(done);
    }
    how->last = type;
    return true;
}

static bool
is_of_type(const struct value *how, PyObject *object)
{
    PyObject *given[] = {object, Py_None};
    PyObject *is_one = PyObject_Vectorcall(how->is_type_of, given, 2, NULL);
    if (is_one == NULL)
        return false;
    bool is_true = is_one == Py_True;
    Py_DECREF(is_one);
    if (!is_true)
        surprise();
    return is_true;
}

static PyObject *
serialize_object(struct value *how, PyObject *object)
{
    if (Py_TYPE(object) != how->last && !is_admitted(how, object))
        return NULL;
    if (how->is_type_of != NULL && !is_of_type(how, object))
        return NULL;
    PyObject *serialized = PyDict_Copy(how->template);
    if (serialized == NULL)
        return NULL;
    for (struct field *field = how->fields; field < how->fields + how->field_count; field++) {
        PyObject *value = field->attribute != NULL ? PyObject_GetAttr(object, field->attribute)
                                                   : PyObject_CallOneArg(field->method, object);
        PyObject *one = value == NULL ? NULL : serialize_value(&field->value, value);
        Py_XDECREF(value);
        if (one == NULL || PyDict_SetItem(serialized, field->key, one) < 0) {
            Py_XDECREF(one);
            Py_DECREF(serialized);
            return NULL;
        }
        Py_DECREF(one);
    }
    return serialized;
}

static PyObject *
serialize_value(struct value *how, PyObject *value)
{
    if (value == Py_None && how->kind != KIND_CALL)
        return how->nullable ? Py_NewRef(value) : surprise();
    switch (how->kind) {
    case KIND_LIST:
        return serialize_list(how, value);
    case KIND_OBJECT:
        return serialize_object(how, value);
    default:
        if (value == Py_None && how->nullable)
            return Py_NewRef(value);
        return serialize_leaf(how, value);
    }
}

/* Reading shapes */

static bool read_value(struct value *how, PyObject *shape);

static void
free_value(struct value *how)
{
    if (how->item != NULL) {
        free_value(how->item);
        PyMem_Free(how->item);
    }
    if (how->fields != NULL) {
        for (Py_ssize_t number = 0; number < how->field_count; number++)
            free_value(&how->fields[number].value);
        PyMem_Free(how->fields);
    }
}

static bool
read_leaf(struct value *how, PyObject *shape)
{
    int kind, nullable;
    PyObject *plain = Py_None;
    switch (how->kind) {
    case KIND_ENUM:
        return PyArg_ParseTuple(shape, "ipO!", &kind, &nullable, &PyDict_Type, &how->names);
    case KIND_FIXED_POINT:
        if (!PyArg_ParseTuple(shape, "ipOOOll", &kind, &nullable, &how->function, &plain, &how->unusual,
                              &how->digits, &how->least))
            return false;
        if (how->digits < 0 || how->digits > MAX_DIGITS || how->least < 0 || how->least > how->digits) {
            PyErr_SetString(PyExc_ValueError, "a fixed-point number has 0 to 18 digits");
            return false;
        }
        how->scale = 1;
        for (long digit = 0; digit < how->digits; digit++)
            how->scale *= 10;
        break;
    case KIND_CALL:
    case KIND_TIME:
    case KIND_DAY:
        if (!PyArg_ParseTuple(shape, "ipOOO", &kind, &nullable, &how->function, &plain, &how->unusual))
            return false;
        break;
    default:
        return PyArg_ParseTuple(shape, "ip", &kind, &nullable);
    }
    how->plain = plain == Py_None ? NULL : plain;
    return true;
}

static bool
read_list(struct value *how, PyObject *shape)
{
    int kind, nullable;
    PyObject *item;
    if (!PyArg_ParseTuple(shape, "ipO!", &kind, &nullable, &PyTuple_Type, &item))
        return false;
    how->item = PyMem_Calloc(1, sizeof *how->item);
    if (how->item == NULL) {
        PyErr_NoMemory();
        return false;
    }
    return read_value(how->item, item);
}

static bool
read_object(struct value *how, PyObject *shape)
{
    int kind, nullable;
    PyObject *is_type_of, *fields;
    if (!PyArg_ParseTuple(shape, "ipO!OOO!O!", &kind, &nullable, &PySet_Type, &how->known, &how->admit, &is_type_of,
                          &PyDict_Type, &how->template, &PyTuple_Type, &fields))
        return false;
    how->is_type_of = is_type_of == Py_None ? NULL : is_type_of;
    how->fields = PyMem_Calloc((size_t)PyTuple_GET_SIZE(fields) + 1, sizeof *how->fields);
    if (how->fields == NULL) {
        PyErr_NoMemory();
        return false;
    }
    for (; how->field_count < PyTuple_GET_SIZE(fields); how->field_count++) {
        struct field *field = &how->fields[how->field_count];
        PyObject *getter, *value;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(fields, how->field_count), "UOO!", &field->key, &getter, &PyTuple_Type,
                              &value))
            return false;
        if (PyUnicode_CheckExact(getter))
            field->attribute = getter;
        else
            field->method = getter;
        if (!read_value(&field->value, value)) {
            how->field_count++; /* so that the part already read is freed */
            return false;
        }
    }
    return true;
}

static bool
read_value(struct value *how, PyObject *shape)
{
    long kind = PyTuple_GET_SIZE(shape) < 2 ? -1 : PyLong_AsLong(PyTuple_GET_ITEM(shape, 0));
    if (kind < 0 || kind >= KINDS) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a shape begins with its kind");
        return false;
    }
    how->kind = (enum kind)kind;
    how->nullable = PyTuple_GET_ITEM(shape, 1) == Py_True;
    if (how->kind == KIND_LIST)
        return read_list(how, shape);
    if (how->kind == KIND_OBJECT)
        return read_object(how, shape);
    return read_leaf(how, shape);
}

/* The type */

static PyObject *
serializer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *shape;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "a Serializer takes its shape alone");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "O!", &PyTuple_Type, &shape))
        return NULL;
    Serializer *self = (Serializer *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->shape = Py_NewRef(shape);
    if (!read_value(&self->value, shape)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
serializer_traverse(Serializer *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->shape);
    return 0;
}

static void
serializer_dealloc(Serializer *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    free_value(&self->value);
    Py_XDECREF(self->shape);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
serializer_call(Serializer *self, PyObject *args, PyObject *kwargs)
{
    PyObject *value;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "a Serializer takes a value alone");
        return NULL;
    }
    if (!PyArg_UnpackTuple(args, "Serializer", 1, 1, &value))
        return NULL;
    return serialize_value(&self->value, value);
}

static PyType_Slot serializer_slots[] = {
    {Py_tp_new, serializer_new},
    {Py_tp_dealloc, serializer_dealloc},
    {Py_tp_traverse, serializer_traverse},
    {Py_tp_call, serializer_call},
    {0, NULL},
};

static PyType_Spec serializer_spec = {
    .name = "execution._serializer.Serializer",
    .basicsize = sizeof(Serializer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = serializer_slots,
};

static int
module_exec(PyObject *module)
{
    static const char *const names[KINDS] = {
        [KIND_TEXT] = "TEXT", [KIND_BOOLEAN] = "BOOLEAN",     [KIND_INT] = "INT",
        [KIND_ENUM] = "ENUM", [KIND_TEXT_OF_INT] = "TEXT_OF_INT", [KIND_CALL] = "CALL",
        [KIND_FIXED_POINT] = "FIXED_POINT", [KIND_TIME] = "TIME", [KIND_DAY] = "DAY",
        [KIND_LIST] = "LIST", [KIND_OBJECT] = "OBJECT",
    };
    PyDateTime_IMPORT;
    if (PyDateTimeAPI == NULL)
        return -1;
    for (int kind = 0; kind < KINDS; kind++)
        if (PyModule_AddIntConstant(module, names[kind], kind) < 0)
            return -1;
    PyObject *type = PyType_FromModuleAndSpec(module, &serializer_spec, NULL);
    if (type == NULL)
        return -1;
    int added = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return added;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "execution._serializer",
    .m_doc = "Serializes whole subtrees of an answer.",
    .m_size = 0,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__serializer(void)
{
    return PyModuleDef_Init(&module_def);
}
