import pytest

from greenlight.adapters.mlflow_registry import MlflowRegistry
from greenlight.core.errors import UnavailableError
from greenlight.testing.memory_registry import MemoryRegistry
from greenlight.testing.registry_contract import RegistryContract
from greenlight.testing.servers import shared_mlflow_server


class TestMemoryRegistry(RegistryContract):
    @pytest.fixture
    def registry(self):
        return MemoryRegistry()

    def test_a_registry_that_is_away_says_so(self):
        with pytest.raises(UnavailableError):
            MemoryRegistry(away=True).models()


class TestMlflowRegistry(RegistryContract):
    @pytest.fixture
    def registry(self):
        return MlflowRegistry(shared_mlflow_server(), attempts=2, wait_s=0.1)
