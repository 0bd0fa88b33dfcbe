"""What MyNet is compared with: each answers the same digits with the same weights on one port."""
