"""VOC2007 trainval and test for tools/extract.py: resized to 256, then warped to 224 x 224, as the VOC07 SVM protocol wants it."""

data = dict(
    imgs_per_gpu=32,
    workers_per_gpu=2,
    extract=dict(
        type='ExtractDataset',
        data_source=dict(
            type='ImageList',
            list_file='data/VOCdevkit/VOC2007/Lists/trainvaltest.txt',
            root='data/VOCdevkit/VOC2007/JPEGImages',
            return_label=False,
        ),
        pipeline=[
            dict(type='Resize', size=256),
            dict(type='Resize', size=(224, 224)),
            dict(type='ToTensor'),
            dict(type='Normalize', mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
        ],
    ),
)
split_name = ['voc07_trainval', 'voc07_test']
split_at = [5011]
