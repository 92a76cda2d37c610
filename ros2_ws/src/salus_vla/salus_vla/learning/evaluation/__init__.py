"""What recorded episodes say: success and failure rates, shift detection and failure prediction by the signals."""
