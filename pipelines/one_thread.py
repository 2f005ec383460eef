"""One thread for the matrix products of a stage: threads add up in another order, and so decide a shard's last bits."""

from threadpoolctl import threadpool_limits


def one_thread() -> threadpool_limits:
    """Return a context in which BLAS, of NumPy and of SciPy, uses one thread; afterwards it is as it was before."""
    return threadpool_limits(limits=1, user_api="blas")
