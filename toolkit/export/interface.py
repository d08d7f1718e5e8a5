"""model.py as a competition calls it: the class that ships, and below it what another contract asks
for."""

from importlib import resources

from toolkit.core.contract import AN2DL2024, Contract

# What each kind of answer is made with; `network` is the class Model of model.py.
ANSWERS = {
    "labels": "network.predict(images)",
    "one-hot": (
        'np.eye(len(network.manifest["class_names"]), dtype=np.int64)[network.predict(images)]'
    ),
    "probabilities": "network.probabilities(images)",
    "logits": "np.log(np.maximum(network.probabilities(images), 1e-7))",
    "csv": "_write_csv(network.predict(images))",
}
# How images of so many channels become RGB.
CONVERSIONS = {
    1: "np.repeat(np.reshape(images, (len(images), *network.image_shape[:2], 1)), 3, axis=3)",
    3: "images",
    4: "np.asarray(images)[..., :3]",
}
TEMPLATE = """

# What the competition calls; images have {channels}, and it returns {returns}.

CbtoolModel = Model
{helper}

def _answer(network: CbtoolModel, images: np.ndarray) -> {answer_type}:
    images = {conversion}
    return {answer}

"""
CSV = '''

def _write_csv(labels: np.ndarray) -> str:
    """Writes the number and the label of each image. Returns the path of the file."""
    import csv
    import tempfile

    path = Path(tempfile.mkdtemp()) / "predictions.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow({columns})
        writer.writerows(enumerate(labels.tolist()))
    return str(path)

'''
FUNCTION = """
_network = CbtoolModel()


def {method}(X: np.ndarray) -> {answer_type}:
    return _answer(_network, X)
"""
CLASS = """
class {class_name}:
    def __init__(self) -> None:
        self.network = CbtoolModel()
{fit}
    def {method}(self, X: np.ndarray) -> {answer_type}:
        return _answer(self.network, X)
"""
FIT = '''
    def fit(self, X: np.ndarray, y: np.ndarray) -> {class_name}:
        """Does nothing: the network is trained."""
        return self
'''


def write_source(contract: Contract = AN2DL2024) -> bytes:
    """The model.py of every zip that cbtool builds for `contract`: UTF-8."""
    source = (resources.files("submission") / "model.py").read_bytes()
    return source + write_adapter(contract).encode()


def write_adapter(contract: Contract) -> str:
    """What stands below the class that ships; nothing where that is what `contract` asks for."""
    usual = (contract.style, contract.class_name, contract.method, contract.returns)
    if usual == ("class", "Model", "predict", "labels") and contract.channels == 3:
        return ""
    is_csv = contract.returns == "csv"
    names = {
        "class_name": contract.class_name,
        "method": contract.method,
        "answer_type": "str" if is_csv else "np.ndarray",
    }
    count = contract.channels
    head = TEMPLATE.format(
        channels=f"{count} channel{'s' if count > 1 else ''}",
        returns=contract.returned,
        helper=CSV.format(columns=list(contract.csv_columns)) if is_csv else "",
        answer_type=names["answer_type"],
        conversion=CONVERSIONS[count],
        answer=ANSWERS[contract.returns],
    )
    if contract.style == "function":
        return head + FUNCTION.format(**names)
    fit = FIT.format(**names) if contract.style == "fit" else ""
    return head + CLASS.format(fit=fit, **names)
