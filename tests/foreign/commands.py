"""Commands as the guides of other code bases document them, with the recipe they are here and how their batch is cut otherwise."""

FCMAE = '--blr 1.5e-4 --epochs 1600 --warmup_epochs 40 --data_path /path/to/imagenet-1k'
TUNED = '--model_ema True --model_ema_eval True --use_amp True --finetune /path/to/checkpoint --data_path /path/to/imagenet-1k'
LAUNCH = 'python -m torch.distributed.launch --nproc_per_node='
BASE = (
    "--model convnextv2_base --batch_size 32 {} --blr 6.25e-4 --epochs 100 --warmup_epochs 20 --layer_decay_type 'group' --layer_decay 0.6 "
    f'--weight_decay 0.05 --drop_path 0.1 --reprob 0.25 --mixup 0.8 --cutmix 1.0 --smoothing 0.1 {TUNED}'
)
ATTO = (
    "--model convnextv2_atto --batch_size 32 {} --blr 2e-4 --epochs 600 --warmup_epochs 0 --layer_decay_type 'single' --layer_decay 0.9 "
    f'--weight_decay 0.3 --drop_path 0.1 --reprob 0.25 --mixup 0. --cutmix 0. --smoothing 0.2 {TUNED}'
)
TINY = (
    "--model convnextv2_{} --batch_size 32 {} --blr 8e-4 --epochs 300 --warmup_epochs 40 --layer_decay_type 'single' --layer_decay 0.9 "
    f'--weight_decay 0.05 --drop_path 0.2 --reprob 0.25 --mixup 0.8 --cutmix 1.0 --smoothing 0.1 {TUNED}'
)
SLAK = (
    'main.py --Decom True --sparse --width_factor 1.3 -u {} --sparsity 0.4 --sparse_init snip --prune_rate {} --growth random --epochs 300 '
    '--model SLaK_{} --drop_path {} --batch_size {} --lr 4e-3 --update_freq 8 --model_ema true --model_ema_eval true '
    '--data_path /path/to/imagenet-1k --num_workers 40 --kernel_size 51 49 47 13 5 --output_dir /path/to/save_results'
)
SLAK_TEST = (
    'main.py --model SLaK_tiny --eval true --Decom True --kernel_size 51 49 47 13 5 --width_factor 1.3 --resume path/to/checkpoint '
    '--input_size 224 --drop_path 0.2 --data_path /path/to/imagenet-1k'
)
SPARK = 'bash ./main.sh my_run --num_nodes=1 --ngpu_per_node=8 --data_path=/path/to/imagenet --model=resnet50 --ep=1600 --bs=4096'
NODES, SAVED = '--job_dir /path/to/save_results', '--output_dir /path/to/save_results'
TUNING = 'configs/benchmarks/finetuning/imagenet/convnextv2_'
SLAKS = 'configs/classification/imagenet/slak_'
RESULT = '--work_dir /path/to/save_results --auto_resume'
TUNED_HERE = '--pretrained /path/to/checkpoint'
ONE_PER_STEP = ['optim_wrapper.accumulative_counts = 1']

# command, recipe, what else than paths differs from the recipe, the command here
PRETRAINING = (
    (
        SPARK,
        'configs/selfsup/spark/r50.py',
        ['train_dataloader.batch_size = 512'],
        'bash tools/dist_train.sh {} 8 --work_dir work_dirs/my_run',
    ),
    (
        f'python submitit_pretrain.py --nodes 8 --ngpus 8 --model convnextv2_base --batch_size 64 {FCMAE} {NODES}',
        'configs/selfsup/fcmae/base.py',
        [],
        'python tools/submit.py {} --nodes 8 --ngpus 8 --job_dir /path/to/save_results',
    ),
    (
        f'{LAUNCH}8 main_pretrain.py --model convnextv2_base --batch_size 64 --update_freq 8 {FCMAE} {SAVED}',
        'configs/selfsup/fcmae/base.py',
        ['optim_wrapper.accumulative_counts = 8'],
        f'bash tools/dist_train.sh {{}} 8 {RESULT}',
    ),
)
FINETUNING = tuple(
    row
    for words, arch in ((BASE, ('base', ())), (ATTO, ('atto', ())), (TINY, ('tiny', ('tiny', ''))))
    for row in (
        (
            f'python submitit_finetune.py --nodes 4 --ngpus 8 {words.format(*arch[1][:1], "")} {NODES}',
            f'{TUNING}{arch[0]}.py',
            ONE_PER_STEP,
            f'python tools/submit.py {{}} --nodes 4 --ngpus 8 --job_dir /path/to/save_results {TUNED_HERE}',
        ),
        (
            f'{LAUNCH}8 main_finetune.py {words.format(*arch[1][1:], "--update_freq 4")} {SAVED}',
            f'{TUNING}{arch[0]}.py',
            [],
            f'bash tools/dist_train.sh {{}} 8 {TUNED_HERE} {RESULT}',
        ),
    )
)
WORKERS = ['train_dataloader.num_workers = 40', 'val_dataloader.num_workers = 40']
SPARSE = tuple(
    (
        f'{LAUNCH}{gpus} {SLAK.format(u, rate, arch, path, 512 // gpus)}',
        f'{SLAKS}{arch}.py',
        WORKERS,
        f'bash tools/dist_train.sh {{}} {gpus} {RESULT}',
    )
    for gpus, u, rate, arch, path in (
        (4, 2000, 0.5, 'tiny', 0.1),
        (8, 100, 0.3, 'small', 0.4),
        (16, 100, 0.3, 'base', 0.5),
    )
)
MEASURED = ['model.backbone.drop_path_rate = 0.2', 'custom_hooks.SparseTrainingHook left out']
TESTS = (
    (f'python {SLAK_TEST}', f'{SLAKS}tiny.py', MEASURED, 'python tools/test.py {} path/to/checkpoint'),
    (f'{LAUNCH}8 {SLAK_TEST}', f'{SLAKS}tiny.py', MEASURED, 'bash tools/dist_test.sh {} 8 path/to/checkpoint'),
)
DOCUMENTED = (*PRETRAINING, *FINETUNING, *SPARSE, *TESTS)

D2, YAML = 'benchmarks/detection', 'configs/coco_R_50_FPN_CONV_1x_moco_adam.yaml'
DETECTION = (
    (
        'python3 convert-timm-to-d2.py /some/path/to/resnet50_1kpretrained_timm_style.pth d2-style.pkl',
        f'python {D2}/convert_pretrain_to_detectron2.py /some/path/to/resnet50_1kpretrained_timm_style.pth d2-style.pkl',
    ),
    (
        f'python3 ./train_net.py --resume --num-gpus 8 --config-file ./{YAML} MODEL.WEIGHTS d2-style.pkl OUTPUT_DIR out',
        f'python {D2}/train_net.py --config-file {D2}/{YAML} --resume --num-gpus 8 MODEL.WEIGHTS d2-style.pkl OUTPUT_DIR out',
    ),
    (
        f'python3 ./train_net.py --config-file ./{YAML} --num-machines 2 --machine-rank 1 --dist-url h:1 MODEL.WEIGHTS a.pkl',
        f'python {D2}/train_net.py --config-file {D2}/{YAML} --num-machines 2 --machine-rank 1 --dist-url h:1 MODEL.WEIGHTS a.pkl',
    ),
)

MOCO, R50 = 'configs/selfsup/moco/r50_v2.py', 'configs/classification/imagenet/r50.py'
LINEAR = 'configs/benchmarks/linear_classification/imagenet/r50_multihead.py'
SEMI = 'configs/benchmarks/semi_classification/imagenet_1percent/r50_lr0_01_head1.py'
OPENSELFSUP = (
    f'python tools/train.py {MOCO}',
    f'python tools/train.py {MOCO} --work_dir out --seed 0 --deterministic',
    f'bash tools/dist_train.sh {MOCO} 8',
    f'bash tools/dist_train.sh {MOCO} 8 --resume_from work_dirs/selfsup/moco/r50_v2/epoch_100.pth',
    f'bash tools/dist_train.sh {R50} 8 --pretrained pretrains/moco_r50_v2.pth',
    f'bash tools/single_train.sh {MOCO}',
    f'SRUN_ARGS="-w n01" bash tools/srun_train.sh PARTITION {MOCO} 16',
    f'python tools/test.py {R50} work_dirs/classification/imagenet/r50/latest.pth',
    f'bash tools/dist_test.sh {R50} 8 epoch_90.pth',
    f'bash tools/srun_test.sh PARTITION {R50} 8 epoch_90.pth',
    f'python tools/extract.py {MOCO} --checkpoint epoch_200.pth --layer-ind 0,1,2,3,4 --work_dir out',
    f'bash tools/dist_extract.sh {MOCO} 8 out --pretrained random',
    f'bash tools/srun_extract.sh PARTITION {MOCO} 8 out --pretrained random',
    f'bash benchmarks/dist_test_svm_epoch.sh {MOCO} 200 feat5 8',
    f'bash benchmarks/dist_test_svm_pretrain.sh {MOCO} random "feat4 feat5"',
    f'bash benchmarks/srun_test_svm_epoch.sh PARTITION {MOCO} 200 feat5',
    f'bash benchmarks/srun_test_svm_pretrain.sh PARTITION {MOCO} moco.pth feat5 8',
    f'bash benchmarks/dist_train_linear.sh {LINEAR} pretrains/moco_r50_v2.pth',
    f'bash benchmarks/srun_train_linear.sh PARTITION {LINEAR} pretrains/moco_r50_v2.pth',
    f'bash benchmarks/dist_train_semi.sh {SEMI} pretrains/moco_r50_v2.pth',
    f'bash benchmarks/srun_train_semi.sh PARTITION {SEMI} pretrains/moco_r50_v2.pth',
    'python tools/extract_backbone_weights.py work_dirs/selfsup/moco/r50_v2/epoch_200.pth pretrains/moco_r50_v2.pth',
    'python tools/publish_model.py pretrains/moco_r50_v2.pth',
    f'python tools/count_parameters.py {MOCO}',
    'python tools/upgrade_models.py old.pth --save-path new.pth',
)
