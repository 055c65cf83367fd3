train_cfg = {}
test_cfg = {}
prefetch = False
optimizer_config = dict()  # grad_clip, coalesce, bucket_size_mb
log_config = dict(interval=50, hooks=[dict(type='TextLoggerHook'), dict(type='TensorboardLoggerHook')])
dist_params = dict(backend='nccl')
cudnn_benchmark = True
log_level = 'INFO'
load_from = None
resume_from = None
workflow = [('train', 1)]
