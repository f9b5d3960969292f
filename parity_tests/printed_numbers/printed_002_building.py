"""20-day tutorial, 6-1 and 6-2: the same network built in seven ways, as print() shows it."""

from .printed_row import Printed, was

SORTED = "nn.ModuleDict sorted its keys in PyTorch 1.5, and nn.Flatten printed no arguments"
DIGIT_SEQUENCE = """Sequential(
  (conv1): Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1))
  (pool1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  (conv2): Conv2d(32, 64, kernel_size=(5, 5), stride=(1, 1))
  (pool2): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  (dropout): Dropout2d(p=0.1, inplace=False)
  (adaptive_pool): AdaptiveMaxPool2d(output_size=(1, 1))
  (flatten): Flatten()
  (linear1): Linear(in_features=64, out_features=32, bias=True)
  (relu): ReLU()
  (linear2): Linear(in_features=32, out_features=10, bias=True)
)"""
DIGIT_LISTED = """Net(
  (layers): ModuleList(
    (0): Conv2d(1, 32, kernel_size=(3, 3), stride=(1, 1))
    (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    (2): Conv2d(32, 64, kernel_size=(5, 5), stride=(1, 1))
    (3): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    (4): Dropout2d(p=0.1, inplace=False)
    (5): AdaptiveMaxPool2d(output_size=(1, 1))
    (6): Flatten()
    (7): Linear(in_features=64, out_features=32, bias=True)
    (8): ReLU()
    (9): Linear(in_features=32, out_features=10, bias=True)
  )
)"""
NAMED = """Net(
  (conv1): Conv2d(3, 32, kernel_size=(3, 3), stride=(1, 1))
  (pool1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  (conv2): Conv2d(32, 64, kernel_size=(5, 5), stride=(1, 1))
  (pool2): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  (dropout): Dropout2d(p=0.1, inplace=False)
  (adaptive_pool): AdaptiveMaxPool2d(output_size=(1, 1))
  (flatten): Flatten()
  (linear1): Linear(in_features=64, out_features=32, bias=True)
  (relu): ReLU()
  (linear2): Linear(in_features=32, out_features=1, bias=True)
  (sigmoid): Sigmoid()
)"""
NUMBERED = """Sequential(
  (0): Conv2d(3, 32, kernel_size=(3, 3), stride=(1, 1))
  (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  (2): Conv2d(32, 64, kernel_size=(5, 5), stride=(1, 1))
  (3): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
  (4): Dropout2d(p=0.1, inplace=False)
  (5): AdaptiveMaxPool2d(output_size=(1, 1))
  (6): Flatten()
  (7): Linear(in_features=64, out_features=32, bias=True)
  (8): ReLU()
  (9): Linear(in_features=32, out_features=1, bias=True)
  (10): Sigmoid()
)"""
HALVES = """Net(
  (conv): Sequential(
    (0): Conv2d(3, 32, kernel_size=(3, 3), stride=(1, 1))
    (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    (2): Conv2d(32, 64, kernel_size=(5, 5), stride=(1, 1))
    (3): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    (4): Dropout2d(p=0.1, inplace=False)
    (5): AdaptiveMaxPool2d(output_size=(1, 1))
  )
  (dense): Sequential(
    (0): Flatten()
    (1): Linear(in_features=64, out_features=32, bias=True)
    (2): ReLU()
    (3): Linear(in_features=32, out_features=1, bias=True)
    (4): Sigmoid()
  )
)"""
LISTED = """Net(
  (layers): ModuleList(
    (0): Conv2d(3, 32, kernel_size=(3, 3), stride=(1, 1))
    (1): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    (2): Conv2d(32, 64, kernel_size=(5, 5), stride=(1, 1))
    (3): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    (4): Dropout2d(p=0.1, inplace=False)
    (5): AdaptiveMaxPool2d(output_size=(1, 1))
    (6): Flatten()
    (7): Linear(in_features=64, out_features=32, bias=True)
    (8): ReLU()
    (9): Linear(in_features=32, out_features=1, bias=True)
    (10): Sigmoid()
  )
)"""
KEYED = """Net(
  (layers_dict): ModuleDict(
    (adaptive): AdaptiveMaxPool2d(output_size=(1, 1))
    (conv1): Conv2d(3, 32, kernel_size=(3, 3), stride=(1, 1))
    (conv2): Conv2d(32, 64, kernel_size=(5, 5), stride=(1, 1))
    (dropout): Dropout2d(p=0.1, inplace=False)
    (flatten): Flatten()
    (linear1): Linear(in_features=64, out_features=32, bias=True)
    (linear2): Linear(in_features=32, out_features=1, bias=True)
    (pool): MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)
    (relu): ReLU()
    (sigmoid): Sigmoid()
  )
)"""
SEQUENCE = NAMED.replace("Net(", "Sequential(")

ROWS = (
    was("002 6-1:8187", "print(net)", "str(sizes(lambda: named(LAYERS)))", NAMED, "str(named(LAYERS, torch.nn))"),
    was(
        "002 6-1:8264",
        "print(net)",
        "str(sizes(lambda: sequence(LAYERS)))",
        SEQUENCE,
        "str(sequence(LAYERS, torch.nn))",
    ),
    was(
        "002 6-1:8304",
        "print(net)",
        "str(sizes(lambda: numbered(LAYERS)))",
        NUMBERED,
        "str(numbered(LAYERS, torch.nn))",
    ),
    was(
        "002 6-1:8344",
        "print(net)",
        "str(sizes(lambda: sequence(LAYERS)))",
        SEQUENCE,
        "str(sequence(LAYERS, torch.nn))",
    ),
    was("002 6-1:8437", "print(net)", "str(sizes(lambda: halves()))", HALVES, "str(halves(torch.nn))"),
    was("002 6-1:8490", "print(net)", "str(sizes(lambda: listed(LAYERS)))", LISTED, "str(listed(LAYERS, torch.nn))"),
    Printed(
        "002 6-1:8576",
        "print(net)",
        "str(sizes(lambda: keyed()))",
        KEYED,
        "old_version",
        torch="str(keyed(torch.nn))",
        reason=SORTED,
    ),
    was("002 6-2:8731", "print(net)", 'str(port("mnist_cnn"))', DIGIT_SEQUENCE, 'str(reference("mnist_cnn"))'),
    was(
        "002 6-2:8922", "print(net)", "str(sizes(lambda: listed(DIGIT)))", DIGIT_LISTED, "str(listed(DIGIT, torch.nn))"
    ),
    was(
        "002 6-2:9154",
        "print(model)",
        'str(sizes(lambda: listed(DIGIT, name="CnnModel")))',
        DIGIT_LISTED.replace("Net(", "CnnModel("),
        'str(listed(DIGIT, torch.nn, "CnnModel"))',
    ),
)
