from sparsesolve.direct._base import AbstractDirectPlan as AbstractDirectPlan
