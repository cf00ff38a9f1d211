"""Test problems with known answers: plain JAX functions as a user would write them.

Tests, examples and benchmarks share them; they import nothing of the package. Each function of the first table returns
a `Problem`, each of the second a SciPy CSR matrix, each of the third a `FitProblem`, each of the last an `OdeProblem`.

| problem | unknowns | what it exercises | the answer it is checked against |
|---|---|---|---|
| `bratu_1d`, `bratu_2d`, `bratu_3d` | n, n^2, n^3 | 3-, 5-, 7-point stencils, a fold | closed form; collocation |
| `bratu_2d_manufactured` | n^2 | a source in `args` | manufactured, order 2 |
| `brusselator` | 2 n^2 | two fields, periodic | balance of mass; homogeneous state |
| `p_laplacian` | n^2 | gradient of an energy, degenerate | radial solution, order 2 |
| `cavity` | 2 n^2 | convection, boundary formulas | Ghia et al., Botella and Peyret |
| `fem_diffusion` | n^2 | gathers and scatter-adds on a mesh | manufactured, order 2 in L2 |
| `reaction_diffusion` | 6 n^2 | six fields, dense local coupling | three conservation laws |

| matrix | unknowns | what it exercises | its known property |
|---|---|---|---|
| `convection_diffusion` | n, n m, n m k | 3-, 5-, 7-point stencils, unsymmetric | exact for quadratics |
| `jumping_diffusion` | n^2 | coefficients over decades, anisotropy | positive definite, inner rows sum to 0 |
| `helmholtz` | n^2 | indefinite | eigenvalues in closed form |
| `elasticity` | 2 n (n + 1) | two unknowns a node | positive definite, rigid motions |
| `block_tridiagonal` | blocks x size | chains of small dense blocks | dominant diagonal |
| `chemistry` | species + 1 | small, half dense, an arrow, many decades | molecules are conserved |
| `circuit` | nodes + sources | hubs, weak and missing diagonal entries | currents add up |
| `stokes` | 3 n^2 - 2 n - 1 | saddle point on a grid | signs of the eigenvalues |
| `markov_chain` | states | scale-free graph | row sums |
| `optimal_control` | steps (2 states + controls) | saddle point in time, long and thin | signs of the eigenvalues |

| fit | parameters | what it exercises | the answer it is checked against |
|---|---|---|---|
| `nist`, `read_nist` | 2 to 9 | difficult curves, far starts | certified by NIST to 11 digits |
| `bundle_adjustment`, `read_bal` | 9 cameras + 3 points | Schur elimination, scaling, gauge | made; Ceres' cost |
| `manhattan_walk`, `sphere_walk`, `read_g2o` | 3 or 6 a pose | sparse J^T J, rotations | made; known chi^2 |
| `coefficient_calibration` | n^2 + (n + 2)^2 | a PDE among the residuals | made, cost zero |
| `spectral_peaks` | 3 peaks + 2 | banded, two dense columns | made |
| `exponential_fits` | 3 fits | many small fits | made |

| problem in time | unknowns | what it exercises | the end value it is checked against |
|---|---|---|---|
| `hires`, `rober`, `orego`, `e5`, `pollu` | 8, 3, 3, 4, 20 | chemistry, many decades | published |
| `robertson_groups` | 3 groups | a block-diagonal Jacobian | published |
| `van_der_pol` | 2 | slow arcs, steep jumps | published |
| `transistor_amplifier`, `chemical_akzo` | 8, 6 | singular mass matrices, index 1 | published |
| `medical_akzo` | 2 n | a moving front, a jump | published |
| `brusselator_ode` | 2 n^2 | two fields, a jump | CVODE at tight tolerances |
| `allen_cahn`, `burgers`, `kuramoto_sivashinsky` | n^2, n, n | fronts, a layer, chaos | Radau at tight tolerances |
| `reaction_diffusion_ode` | 6 n^2 | six fields, dense local coupling | Radau at tight tolerances |
"""

from sparsesolve.gallery._bratu import (
    CRITICAL_LAM as CRITICAL_LAM,
    bratu_1d as bratu_1d,
    bratu_2d as bratu_2d,
    bratu_2d_manufactured as bratu_2d_manufactured,
    bratu_3d as bratu_3d,
)
from sparsesolve.gallery._brusselator import brusselator as brusselator
from sparsesolve.gallery._bundle_adjustment import (
    bundle_adjustment as bundle_adjustment,
    project as project,
    read_bal as read_bal,
)
from sparsesolve.gallery._calibration import coefficient_calibration as coefficient_calibration
from sparsesolve.gallery._cavity import cavity as cavity, centreline as centreline
from sparsesolve.gallery._exponentials import decay_model as decay_model, exponential_fits as exponential_fits
from sparsesolve.gallery._fem_diffusion import fem_diffusion as fem_diffusion
from sparsesolve.gallery._fit_problem import FitProblem as FitProblem
from sparsesolve.gallery._g2o import read_g2o as read_g2o
from sparsesolve.gallery._linear import (
    block_tridiagonal as block_tridiagonal,
    chemistry as chemistry,
    convection_diffusion as convection_diffusion,
    elasticity as elasticity,
    helmholtz as helmholtz,
    jumping_diffusion as jumping_diffusion,
)
from sparsesolve.gallery._networks import (
    circuit as circuit,
    markov_chain as markov_chain,
    optimal_control as optimal_control,
    stokes as stokes,
)
from sparsesolve.gallery._nist import NIST_SETS as NIST_SETS, nist as nist, read_nist as read_nist
from sparsesolve.gallery._ode_brusselator import brusselator_ode as brusselator_ode
from sparsesolve.gallery._ode_dae import (
    chemical_akzo as chemical_akzo,
    transistor_amplifier as transistor_amplifier,
)
from sparsesolve.gallery._ode_fields import (
    allen_cahn as allen_cahn,
    burgers as burgers,
    kuramoto_sivashinsky as kuramoto_sivashinsky,
)
from sparsesolve.gallery._ode_kinetics import (
    e5 as e5,
    hires as hires,
    orego as orego,
    pollu as pollu,
    rober as rober,
    robertson_groups as robertson_groups,
)
from sparsesolve.gallery._ode_medakzo import medical_akzo as medical_akzo
from sparsesolve.gallery._ode_oscillator import van_der_pol as van_der_pol
from sparsesolve.gallery._ode_problem import OdeProblem as OdeProblem
from sparsesolve.gallery._ode_reaction_diffusion import reaction_diffusion_ode as reaction_diffusion_ode
from sparsesolve.gallery._p_laplacian import (
    p_laplacian as p_laplacian,
    p_laplacian_energy as p_laplacian_energy,
)
from sparsesolve.gallery._problem import Problem as Problem
from sparsesolve.gallery._reaction_diffusion import reaction_diffusion as reaction_diffusion
from sparsesolve.gallery._spectral_peaks import spectral_peaks as spectral_peaks
from sparsesolve.gallery._walks import manhattan_walk as manhattan_walk, sphere_walk as sphere_walk
