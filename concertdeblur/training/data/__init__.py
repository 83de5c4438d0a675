"""What networks learn from, and are judged by: pictures and pairs in every layout, and samples drawn from them."""
