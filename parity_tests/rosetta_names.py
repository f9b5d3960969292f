"""What PyTorch names each chapter of the tutorials uses: functions by path, methods and attributes with a dot."""

CHAPTERS = {
    "practice 1": """torch.Tensor torch.from_numpy .numpy .cpu .cuda torch.cuda.FloatTensor .type .shape .size
        .dim .numel torch.DoubleTensor torch.ones torch.Size .unsqueeze .squeeze .long torch.LongTensor .permute
        .transpose .view torch.zeros torch.add torch.randn Variable .data .grad .grad_fn""",
    "practice 3": """torch.manual_seed torch.from_numpy Variable torch.randn torch.zeros torch.mean .data .numpy
        .backward .grad .zero_ .item""",
    "practice 4": """torch.from_numpy DataLoader nn.Sequential nn.Linear nn.ReLU nn.CrossEntropyLoss .parameters
        .data .grad .zero_grad .zero_ .backward .item .reshape""",
    "basics 1": "torch.squeeze .squeeze torch.unsqueeze .unsqueeze torch.cat",
    "basics 2": "torch.ones .requires_grad .grad .grad_fn .norm .backward",
    "basics 3": """torch.Tensor .numpy torch.ones torch.stack torch.rand .mv .pow .sum .backward .data .grad
        .zero_ .item torch.unsqueeze torch.linspace .size nn.Module nn.Linear torch.cuda.is_available .cuda .cpu
        nn.MSELoss optim.SGD .parameters .zero_grad .step""",
    "basics 4": "torch.unsqueeze torch.linspace .pow torch.rand F.relu nn.Linear nn.Module optim.SGD nn.MSELoss",
    "basics 5": """nn.Module .parameters .backward .step .zero_grad torch.cuda.is_available .cuda torch.ones
        torch.normal torch.zeros torch.cat .type torch.FloatTensor torch.LongTensor nn.Linear torch.sigmoid
        optim.SGD nn.CrossEntropyLoss torch.max .data .squeeze .numpy .cpu""",
    "basics 6": "torch.normal torch.cat .type F.relu F.softmax optim.SGD nn.CrossEntropyLoss torch.max",
    "20-day 2-1": """torch.tensor torch.float64 torch.double torch.float32 torch.float torch.float16 torch.int64
        torch.int32 torch.int16 torch.int8 torch.uint8 torch.bool .dtype torch.IntTensor torch.Tensor
        torch.BoolTensor .float .type .type_as .dim .size .shape torch.arange .view .t .is_contiguous .reshape
        .contiguous torch.from_numpy torch.zeros .numpy .add_ torch.add .clone .data .item torch.rand .tolist""",
    "20-day 2-2": """torch.tensor torch.pow .backward .grad torch.sum torch.autograd.grad .data torch.optim.SGD
        .zero_grad .step""",
    "20-day 2-3": """torch.tensor torch.randn .t torch.mean torch.pow .backward .data torch.autograd.Function
        .save_for_backward .saved_tensors .clamp .clone .apply .grad .grad_fn .is_leaf .register_hook
        .retain_grad nn.Module nn.Parameter""",
    "20-day 4-1": """torch.tensor torch.float torch.arange torch.linspace torch.zeros torch.ones torch.int
        torch.zeros_like torch.fill_ torch.manual_seed torch.rand torch.normal torch.randn torch.randperm
        torch.eye torch.diag torch.floor .int .data .view torch.index_select torch.take torch.gather
        torch.masked_select torch.where torch.index_fill .index_fill torch.masked_fill .masked_fill
        torch.reshape .shape torch.squeeze torch.unsqueeze torch.transpose .t torch.cat torch.stack torch.split""",
    "20-day 4-2": """torch.tensor torch.ge torch.eq torch.sqrt torch.max torch.min torch.round torch.floor
        torch.ceil torch.trunc torch.fmod torch.remainder torch.clamp torch.arange .float torch.sum torch.mean
        torch.prod torch.std torch.var torch.median .view torch.cumsum torch.cumprod torch.cummax torch.cummin
        torch.topk torch.sort torch.matmul torch.mm .t torch.inverse torch.trace torch.norm torch.det torch.eig
        torch.qr torch.svd torch.diag torch.broadcast_tensors""",
    "20-day 4-3": """F.relu F.sigmoid F.tanh F.softmax F.linear F.conv2d F.max_pool2d F.dropout2d F.embedding
        F.binary_cross_entropy F.mse_loss F.cross_entropy nn.ReLU nn.Sigmoid nn.Tanh nn.Softmax nn.Linear
        nn.Conv2d nn.MaxPool2d nn.Dropout2d nn.Embedding nn.BCELoss nn.MSELoss nn.CrossEntropyLoss nn.Parameter
        .requires_grad nn.ParameterList nn.ParameterDict nn.Module .parameters .register_parameter torch.Tensor
        .children .named_children .modules .named_modules nn.Sequential .add_module nn.Conv1d nn.MaxPool1d
        nn.Flatten .transpose .requires_grad_ .numel""",
    "20-day 5-1": """Dataset TensorDataset DataLoader random_split torch.stack RandomSampler SequentialSampler
        BatchSampler IterableDataset torch.arange torch.tensor""",
    "20-day 5-3": """nn.CrossEntropyLoss nn.LogSoftmax nn.NLLLoss nn.MSELoss nn.L1Loss nn.SmoothL1Loss nn.BCELoss
        F.binary_cross_entropy nn.BCEWithLogitsLoss nn.CosineSimilarity nn.AdaptiveLogSoftmaxWithLoss torch.mean
        torch.pow torch.normal torch.rand torch.cat torch.cos torch.sin torch.ones_like torch.zeros_like
        TensorDataset random_split DataLoader nn.Linear F.relu nn.Sigmoid torch.where torch.abs torch.sum
        .named_parameters torch.optim.Adam torch.optim.SGD torch.squeeze .parameters torch.tensor nn.Module""",
    "notes": """torch.FloatTensor torch.Size torch.float .reshape torch.empty torch.rand torch.zeros torch.long
        torch.tensor .new_ones torch.double torch.randn_like .size torch.add .add_ .copy_ .t_ torch.randn .view
        .item torch.ones .numpy torch.from_numpy torch.cuda.is_available torch.device torch.ones_like .to
        .requires_grad .requires_grad_ .backward .grad .grad_fn .detach torch.no_grad .mean .sum nn.Module
        nn.Conv2d nn.Linear F.max_pool2d F.relu .parameters .zero_grad .unsqueeze nn.MSELoss optim.SGD .step
        nn.BatchNorm2d nn.ReLU nn.Sequential optim.Adam optim.RMSprop""",
    "quick start": """torch.Size torch.int64 torch.float32 torch.float64 DataLoader Dataset .shape .dtype
        torch.cuda.is_available torch.backends.mps.is_available nn.Module nn.Flatten nn.Sequential nn.Linear
        nn.ReLU .to nn.CrossEntropyLoss torch.optim.SGD .parameters .dataset .train .eval .backward .step
        .zero_grad .item torch.no_grad .argmax .type torch.float .sum torch.save .state_dict .load_state_dict
        torch.load torch.tensor torch.from_numpy torch.ones_like torch.rand_like torch.rand torch.ones
        torch.zeros .device torch.cat .T .matmul torch.matmul .mul torch.mul .add_ .numpy torch.randint .size
        .squeeze .scatter_ nn.Softmax .named_parameters torch.randn F.binary_cross_entropy_with_logits
        .requires_grad_ .__call__""",
    # Used in other chapters.
    "20-day 3-1": """torch.rand torch.tensor torch.normal torch.LongTensor .index_select torch.randn_like
        torch.zeros_like torch.mean .backward torch.no_grad .grad .zero_""",
    "20-day 5-2": """nn.Linear nn.Flatten nn.BatchNorm1d nn.BatchNorm2d nn.BatchNorm3d nn.Dropout nn.Dropout2d
        nn.Dropout3d nn.Threshold nn.ConstantPad2d nn.ReplicationPad1d nn.ZeroPad2d nn.GroupNorm nn.LayerNorm
        nn.InstanceNorm2d nn.Conv1d nn.Conv2d nn.Conv3d nn.MaxPool1d nn.MaxPool2d nn.MaxPool3d
        nn.AdaptiveMaxPool2d nn.FractionalMaxPool2d nn.AvgPool2d nn.AdaptiveAvgPool2d nn.ConvTranspose2d
        nn.Upsample nn.Unfold nn.Fold nn.Embedding nn.LSTM nn.GRU nn.RNN nn.LSTMCell nn.GRUCell nn.RNNCell
        nn.MultiheadAttention nn.TransformerEncoderLayer nn.Parameter .register_parameter
        nn.init.kaiming_uniform_ nn.init.uniform_ nn.init._calculate_fan_in_and_fan_out""",
    "20-day 6-1": "nn.Module nn.Sequential .add_module nn.ModuleList nn.ModuleDict",
    "20-day 6-2": "nn.Sequential torch.argmax nn.Softmax torch.optim.Adam .train .eval torch.no_grad nn.ModuleList",
    "20-day 6-3": """torch.device torch.cuda.is_available torch.cuda.device_count .to .cuda .cpu .device .is_cuda
        nn.DataParallel torch.save torch.load .load_state_dict torch.cuda.empty_cache""",
}
"""Left out of 20-day 5-2, for the time that they take to compile: nn.Transformer, its encoder and decoder, and the
decoder's layer; docs/nn.md proves them. torchvision, pandas, TensorBoard and torchkeras are no part of the table."""
