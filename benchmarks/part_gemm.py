"""Matrix products of the shapes that training has, on one thread: the engine's kernels beside two BLAS."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from floor import Peak
from library import Library, chosen
from products import Product
from session import Worker
from table import NOTHING, Table, measured_table, number, percent, times
from turns import Choice, Measured, Sampler, measure, ready

__all__ = ["LIBRARIES", "PRODUCTS", "Products", "measure_part", "tables"]

REFERENCE = "scipy"
SECONDS = 0.1

LIBRARIES = {
    "chainrule": Library("chainrule", "products_chainrule:Engine"),
    "scipy": Library("SciPy", "products:SciPy", ("scipy", "numba")),
    "mkl": Library("MKL", "products:Mkl"),
}

PRODUCTS = (
    # Z = H Wᵀ: examples, inputs, outputs.
    Product(32, 20, 64),
    Product(32, 64, 64),
    Product(32, 784, 128),
    Product(128, 512, 512),
    Product(128, 784, 512),
    Product(512, 2048, 2048),
    # The gradient of the weights, Hᵀ Δ: inputs, examples, outputs.
    Product(64, 32, 64, transposed=True),
    Product(784, 32, 128, transposed=True),
    Product(784, 128, 512, transposed=True),
    Product(2048, 512, 2048, transposed=True),
)


@dataclass(kw_only=True)
class Products(Measured):
    """Microseconds of one product."""

    product: Product


def measure_product(product: Product, choice: Choice) -> Products:
    """One product, by all."""
    plan = replace(choice.plan, seconds=min(SECONDS, choice.plan.seconds))
    result = Products(product.name, chosen(LIBRARIES, choice.families), product=product)

    def prepare(worker: Worker, name: str) -> Sampler:
        library = result.libraries[name]
        return ready(
            result, worker, name, plan,
            timer="products:ProductTimer", where=library.where, settings=dict(library.settings),
            product=asdict(product),
        )  # fmt: skip

    measure(result, prepare, plan, choice.say)
    return result


def measure_part(choice: Choice) -> list[Measured]:
    """All the products; the small ones for a glance."""
    products = [one for one in PRODUCTS if one.operations < 1e7] if choice.quick else PRODUCTS
    return [measure_product(product, choice) for product in products]


def _rate(result: Measured, name: str) -> float | None:
    """Floating point operations a second."""
    median = result.median(name)
    if median is None or not isinstance(result, Products):
        return None
    return result.product.operations / median * 1e6


def tables(results: Sequence[Measured], peak: Peak | None) -> list[Table]:
    """One table."""

    def rate(result: Measured, name: str) -> str:
        value = _rate(result, name)
        return NOTHING if value is None else number(value / 1e9)

    def share(result: Measured, name: str) -> str:
        value = _rate(result, name)
        return NOTHING if value is None or peak is None else percent(value / peak.one)

    extras = {
        "vs MKL": lambda result, name: times(result.times_faster_than(name, "mkl")),
        "GFLOP/s": rate,
        "% of peak": share,
    }
    title = "Matrix products on one thread (microseconds a product)"
    return [measured_table(title, ("product", "library"), results, REFERENCE, extras)]
