"""An experiment beyond a real model's window: what extends its context, without and with tuning on short rows."""
