"""For `pytest --nbval-lax notebooks`: start a kernel again that lost the race for a port against another worker's."""

import nbval.kernel


def _patiently(start, tries=3):
    def start_new_kernel(*arguments, **options):
        for left in reversed(range(tries)):
            try:
                return start(*arguments, **options)
            except RuntimeError:  # it died, or another kernel answers at its port; nothing has run yet
                if not left:
                    raise

    return start_new_kernel


nbval.kernel.start_new_kernel = _patiently(nbval.kernel.start_new_kernel)
