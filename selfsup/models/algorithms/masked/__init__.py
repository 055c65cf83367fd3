"""Methods that predict what a mask hides: CNNJEPA, SparK, FCMAE."""
