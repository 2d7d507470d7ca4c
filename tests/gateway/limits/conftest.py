from tests.gateway.mutations.conftest import office as office
