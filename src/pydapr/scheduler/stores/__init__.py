"""What keeps jobs: an SQLite file (`sqlite`), or etcd (`etcd`). The contract is `scheduler.store`."""
