"""Documents by a language model: requests, checks, endpoint, store of answers, prices, and the sample."""
