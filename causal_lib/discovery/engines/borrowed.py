"""Arrays whose references numba does not count."""

from numba import config
from numba.core import cgutils, types
from numba.extending import intrinsic


@intrinsic
def borrow_arrays(typing_context, arrays):
    """The tuple ``arrays`` (named or not) with uncounted references to the same arrays.

    To be called in compiled code. For each array in each tuple that a function receives, numba
    increments and decrements a reference count by atomic instructions. In the order search, whose
    functions are short and receive some twenty arrays, that costs more time than the arithmetic.
    The caller must keep the arrays alive, for example by passing them in from Python.
    """

    def generate(context, builder, signature, arguments):
        (result,) = arguments
        for i, kind in enumerate(signature.return_type.types):
            if isinstance(kind, types.Array):
                array = cgutils.create_struct_proxy(kind)(
                    context, builder, value=builder.extract_value(result, i)
                )
                array.meminfo = cgutils.get_null_value(array.meminfo.type)
                array.parent = cgutils.get_null_value(array.parent.type)
                result = builder.insert_value(result, array._getvalue(), i)
        return result

    return arrays(arrays), generate


if config.DISABLE_JIT:  # an intrinsic cannot be called from Python, where nothing is gained by it

    def borrow_arrays(arrays):
        """The same tuple."""
        return arrays
