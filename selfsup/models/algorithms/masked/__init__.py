"""Methods that predict what a mask hides: SparK, FCMAE."""
