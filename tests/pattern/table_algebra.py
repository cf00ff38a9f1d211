"""Cases of products, convolutions, linear algebra and custom derivatives (see `cases.py`)."""

from __future__ import annotations

import jax
import jax.experimental.sparse as jsparse
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jax import lax

from tests.pattern.cases import INDEX, RNG, SPARSE, Case, case, cases

# Convolutions, products, transforms, linear algebra --------------------------------------------------------------

BCOO = jsparse.BCOO.fromdense(jnp.array(SPARSE))
BCSR = jsparse.BCSR.fromdense(jnp.array(SPARSE))
WEIGHTS = RNG.normal(size=(2, 2, 3))
SPARSE_WEIGHTS = WEIGHTS * (RNG.random((2, 2, 3)) < 0.5)
KERNEL = np.array([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


@case(1, 1, 4, 5)
def convolution_laplacian(x):
    return lax.conv_general_dilated(x, jnp.array(KERNEL)[None, None], (1, 1), "SAME")


@case(2, 4, 5)
def convolution_grouped(x):
    kernel = jnp.array(np.stack([KERNEL[:2], KERNEL[1:]]))[:, None]
    return lax.conv_general_dilated(x[None], kernel, (2, 1), ((1, 0), (0, 1)), (1, 2), feature_group_count=2)


@case(4, 1, 5)
def convolution_batch_groups(x):
    kernel = jnp.array(WEIGHTS[:, :1])
    return lax.conv_general_dilated(x, kernel, (1,), "SAME", rhs_dilation=(2,), batch_group_count=2)


@case(2, 1, 3)
def convolution_of_kernel(kernel):
    return lax.conv_general_dilated(jnp.array(WEIGHTS.reshape(2, 1, 6)), kernel, (1,), ((1, 1),))


@case(2, 3, 2)
def convolution_channels_last(x):
    kernel = jnp.array(SPARSE_WEIGHTS)
    return lax.conv_general_dilated(x, kernel, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))


@case(5)
def convolve(x):
    return jnp.convolve(x, jnp.array([1.0, 0.0, -1.0]), mode="same") * jnp.convolve(x, x[:2], mode="same")


cases(
    matmul_sparse=lambda x: x @ jnp.array(SPARSE.T),
    matmul_sparse_left=lambda x: jnp.array(SPARSE) @ x.T,
    matmul_dense=lambda x: x @ jnp.ones((4, 2)),
    matmul_self=lambda x: x @ x.T,
    einsum_batch=lambda x: jnp.einsum("bi,ij,bj->b", x, jnp.array(SPARSE[:4]), x),
    matmul_unknown_diagonal=lambda x: jnp.diag(jnp.exp(x[0, :3])) @ x,
    matmul_assembled=lambda x: jnp.zeros((4, 4)).at[np.arange(4), INDEX].set(lax.stop_gradient(x[0])) @ x[1],
    masked_unknown=lambda x: jnp.where(np.arange(4)[None, :] > 1, x[::-1], 0.0) * x,
    matmul_diag=lambda x: jnp.diag(np.arange(1.0, 4.0)) @ x,
    bcoo_product=lambda x: BCOO @ x[0],
    bcoo_matrix_product=lambda x: BCOO @ x.T,
    bcoo_transposed=lambda x: x[:, :] @ BCOO.T,
    bcsr_product=lambda x: BCSR @ x[0],
    bcoo_data=lambda x: jsparse.BCOO((x[0], jnp.array([[0, 1], [1, 0], [2, 2], [2, 1]])), shape=(3, 3)) @ jnp.ones(3),
    fft_rows=lambda x: jnp.fft.fft(x, axis=1),
    rfft_columns=lambda x: jnp.fft.rfft(x, axis=0),
    irfft=lambda x: jnp.fft.irfft(x + 0j, axis=1),
    complex_parts=lambda x: jnp.real(x * (1 + 2j)) + jnp.abs(x + 1j * x[::-1]),
    outer_product=lambda x: jnp.outer(x[0], x[1]),
    kron=lambda x: jnp.kron(x[:2, :2], jnp.eye(2)),
)


@case(2, 3, 3)
def batched_solve(a):
    return jnp.linalg.solve(a + 5 * jnp.eye(3)[None], jnp.ones((2, 3, 1)))


@case(2, 3, 3)
def batched_inverse(a):
    return jnp.linalg.inv(a + 5 * jnp.eye(3)[None])


@case(2, 3, 3)
def batched_determinant(a):
    return jnp.linalg.det(a)


# The rule symmetrizes its operand; the entries above the diagonal cancel in exact arithmetic only.
@case(2, 3, 3, excess=6)
def batched_cholesky(a):
    return jnp.linalg.cholesky(a @ jnp.swapaxes(a, 1, 2) + 5 * jnp.eye(3)[None])


@case(2, 3, 3)
def batched_eigh(a):
    return jnp.linalg.eigh(a + jnp.swapaxes(a, 1, 2))[0]


@case(2, 4, 3)
def batched_qr(a):
    return jnp.linalg.qr(a)[1][:, 0, 0]


@case(2, 4, 3)
def batched_svd(a):
    return jnp.linalg.svd(a, compute_uv=False)


@case(2, 4)
def solve_constant_blocks(b):
    blocks = jnp.array(np.kron(np.eye(2), np.array([[2.0, 1.0], [1.0, 3.0]])))
    return jnp.linalg.solve(blocks[None], b[:, :, None])


@case(2, 5)
def tridiagonal_solve(b):
    one = jnp.ones((2, 5))
    return lax.linalg.tridiagonal_solve(one.at[:, 0].set(0.0), 4 * one, one.at[:, -1].set(0.0), b[:, :, None])


@case(2, 5)
def tridiagonal_matrix(d):
    one = jnp.ones((2, 5))
    return lax.linalg.tridiagonal_solve(one.at[:, 0].set(0.0), 4 + d**2, one.at[:, -1].set(0.0), one[:, :, None])


@case(2, 4)
def triangular_solve_lower(b):
    matrix = jnp.array(np.tri(4) + np.eye(4))
    return jax.vmap(lambda row: jsp.linalg.solve_triangular(matrix, row, lower=True))(b)


@case(2, 4)
def triangular_solve_transposed(b):
    matrix = jnp.array(np.tri(4) + np.eye(4))
    return jax.vmap(lambda row: jsp.linalg.solve_triangular(matrix, row, lower=True, trans=1))(b)


@case(6)
def linear_solve_blocks(b):
    def matvec(x):
        return 3 * x + x.reshape(3, 2)[:, ::-1].ravel()

    def solve(mv, rhs):
        return jax.scipy.sparse.linalg.cg(mv, rhs, tol=1e-12)[0]

    return lax.custom_linear_solve(matvec, b, solve, symmetric=True)


@case(6)
def cg_blocks(b):
    return jax.scipy.sparse.linalg.cg(lambda x: 3 * x + x.reshape(3, 2)[:, ::-1].ravel(), b, tol=1e-13)[0]


# Custom derivatives, transformations, references ------------------------------------------------------------------


@jax.custom_jvp
def _shifted(x):
    return x * x[::-1]


@_shifted.defjvp
def _(primals, tangents):
    return _shifted(*primals), tangents[0] * 2.0  # deliberately not the derivative: the rule is what counts


@jax.custom_vjp
def _product(x, y):
    return x * y


_product.defvjp(lambda x, y: (x * y, (x, y)), lambda res, ct: (ct * res[1], ct * res[0]))

cases(
    custom_jvp=lambda x: _shifted(x),
    checkpoint=lambda x: jax.checkpoint(lambda y: jnp.sin(y) * y[::-1])(x),
    checkpoint_gradient=lambda x: jax.grad(lambda y: jax.checkpoint(lambda z: (jnp.sin(z) * z[::-1]).sum())(y))(x),
    jvp_inside=lambda x: jax.jvp(lambda y: y * y[::-1], (x,), (jnp.ones((3, 4)),))[1],
    hessian_vector=lambda x: jax.jvp(jax.grad(lambda y: (y[1:] ** 2 * y[:-1]).sum()), (x,), (jnp.ones((3, 4)),))[1],
    vmap_inside=lambda x: jax.vmap(lambda a, b: a[0] * b, (0, None))(x, x[0]),
    linearize_inside=lambda x: jax.linearize(jnp.sin, x)[1](x[::-1]),
    relu=lambda x: jax.nn.relu(x) + jax.nn.softplus(x) + jax.nn.silu(x),
    bitcast=lambda x: x + lax.bitcast_convert_type(lax.bitcast_convert_type(x, jnp.int64), jnp.float64),
    random_constants=lambda x: (
        x[jax.random.permutation(jax.random.key(0), 3)] * jax.random.normal(jax.random.key(1), (3, 4))
    ),
    interpolation=lambda x: jnp.interp(np.linspace(0.1, 2.9, 5), np.arange(4.0), x[0]),
)

# The backward rule decides, and `jacfwd` cannot differentiate these: they are compared with `jacrev`.
REVERSE_CASES = [
    Case("custom_vjp", lambda x: _product(x, x[::-1]) + _product(x, 2.0 * x)),
    Case("custom_vjp_jit", lambda x: jax.jit(jax.vmap(_product))(x, x[:, ::-1])),
]

COMPLEX_CASES = [
    Case("holomorphic", lambda z: z**2 * z[::-1], dtype=np.complex128),
    Case("fft_complex", lambda z: jnp.fft.fft(z, axis=1) + jnp.exp(z), dtype=np.complex128),
]
