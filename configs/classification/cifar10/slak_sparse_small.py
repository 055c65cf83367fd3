"""SLaK (arXiv:2207.03620), narrow and shallow, with 40 % of its weights at zero on 20,000 images of CIFAR-10, in minutes on two CPU cores.

Reproduces: nothing published; shows that sparse training holds its sparsity and learns. Images are enlarged to 64 pixels, the first
  kernels (31 x 3) span the map of 16 x 16 that the stem leaves.
Command: python tools/train.py configs/classification/cifar10/slak_sparse_small.py (images in data/cifar10/{train,test}/<class>/)
Hardware and time: 2 CPU cores, 5 minutes, of which 1 for the evaluations before and after.
Expected: sparsity 0.4000 in every line of the log; top-1 10.8 untrained, 46.3 trained (46.2 averaged); kNN-20 29.6, 46.6 (46.7).
"""

_base_ = '../../_base_/cifar10_small.py'

pixels = 64
to_tensor = _base_.to_tensor
test_pipeline = [dict(type='Resize', size=pixels), *to_tensor]
test = dict(type='ClassificationDataset', data_source=dict(type='ImageFolder', root='data/cifar10/test'), pipeline=test_pipeline)
model = dict(
    type='Classification',
    backbone=dict(_delete_=True, type='SLaK', depths=(1, 1, 3, 1), dims=(24, 48, 96, 128), kernel_size=(31, 15, 7, 5, 3),
                  layer_scale_init_value=0.1),
    head=dict(type='ClsHead', with_avg_pool=True, in_channels=128, num_classes=10),
)
data = dict(
    train=dict(_delete_=True, type='ClassificationDataset', data_source=_base_.source, pipeline=[
        dict(type='RandomResizedCrop', size=pixels, scale=(0.5, 1.0)), dict(type='RandomHorizontalFlip'), *to_tensor]),
    val=test,
)
custom_hooks = [
    dict(type='SparseTrainingHook', sparsity=0.4, init='snip', update_interval=25, prune_rate=0.3),
    dict(type='EMAHook', momentum=0.99, warmup=True),
    dict(type='ValidateHook', dataset=test, interval=100, imgs_per_gpu=256, eval_param=dict(topk=(1,))),  # before and after training
    dict(_base_.knn, train=dict(type='ClassificationDataset', data_source=_base_.source, pipeline=test_pipeline), test=test),
]
use_fp16 = False  # faster here: the large kernels work in full precision
total_epochs = 4
