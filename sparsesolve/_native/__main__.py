"""`python -m sparsesolve._native` compiles the kernels in place, for a checkout that was not installed with pip."""

from sparsesolve._native import status
from sparsesolve._native._build import BuildError, build

if __name__ == "__main__":
    try:
        print(f"built {build()}")
    except BuildError as error:
        raise SystemExit(f"not built: {error}") from None
    print(status())
