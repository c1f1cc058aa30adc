"""One module for each form that shop data comes in; all give a `RawShop`, not cleaned yet."""
