"""Many machines: the work of `index` and `find` on Celery workers."""
