"""River estimators as they are.  Every entry is a factory seed -> river classifier (multi-class, numeric dicts)."""

from river import drift, ensemble, forest, linear_model, multiclass, naive_bayes, neighbors, optim, preprocessing, tree

sc = preprocessing.StandardScaler
ovr = multiclass.OneVsRestClassifier


def _lr(lr=0.05):
    return linear_model.LogisticRegression(optimizer=optim.SGD(lr))


def _knn(w):
    return neighbors.KNNClassifier(n_neighbors=5, engine=neighbors.LazySearch(window_size=w))


HT, HAT = tree.HoeffdingTreeClassifier, tree.HoeffdingAdaptiveTreeClassifier
RIVER = {
    "LogisticRegression": lambda s: sc() | ovr(_lr()),
    "SoftmaxRegression": lambda s: sc() | linear_model.SoftmaxRegression(optimizer=optim.SGD(0.05)),
    "ALMAClassifier": lambda s: sc() | ovr(linear_model.ALMAClassifier()),
    "PAClassifier": lambda s: sc() | ovr(linear_model.PAClassifier(C=0.01, mode=1)),
    "GaussianNB": lambda s: naive_bayes.GaussianNB(),
    "HoeffdingTree": lambda s: HT(grace_period=50),
    "HoeffdingAdaptiveTree": lambda s: HAT(grace_period=50, seed=s),
    "EFDT": lambda s: tree.ExtremelyFastDecisionTreeClassifier(grace_period=50),
    "KNN(1000)": lambda s: sc() | _knn(1000),
    "KNN(200)": lambda s: sc() | _knn(200),
    "DriftRetraining(HT,DDM)": lambda s: drift.DriftRetrainingClassifier(HT(grace_period=50)),
    "ADWINBagging(LR,10)": lambda s: sc() | ensemble.ADWINBaggingClassifier(ovr(_lr()), n_models=10, seed=s),
    "LeveragingBagging(HT,10)": lambda s: ensemble.LeveragingBaggingClassifier(
        HT(grace_period=50), n_models=10, seed=s
    ),
    "SRP(HT,10)": lambda s: ensemble.SRPClassifier(model=HT(grace_period=50), n_models=10, seed=s),
    "ARF(10)": lambda s: forest.ARFClassifier(n_models=10, seed=s),
    "AMF(10)": lambda s: forest.AMFClassifier(n_estimators=10, seed=s),
}
