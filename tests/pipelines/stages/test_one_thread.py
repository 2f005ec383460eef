from threadpoolctl import threadpool_info, threadpool_limits

from pipelines.stages.one_thread import one_thread


def threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_the_limit_holds_until_the_last_of_several_threads_has_left():
    with threadpool_limits(limits=4, user_api="blas"):
        before = threads()
        assert before != {1}
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        assert threads() == {1}
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == before
