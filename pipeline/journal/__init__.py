"""The store-and-forward log of a reliable sink: records, LMDB file, folder and lock, healing, tools."""
