"""Mixtures: several variants, built sets and chats as one data set."""
